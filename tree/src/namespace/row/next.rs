//! Version 2 of a namespace's row, which comes with the next feature level: it also counts commands.

use types::{FeatureLevel, Result};

use super::NamespaceRow;
use crate::row::Row;

impl Row for NamespaceRow {
    const NAME: &'static str = "namespaces";
    const VERSION: u8 = 2;

    fn version_at(level: FeatureLevel) -> u8 {
        if level < FeatureLevel(2) { 1 } else { 2 }
    }

    fn to_plain(&self, version: u8) -> Vec<u8> {
        match version {
            1 => proto::encode_plain(&(
                self.root,
                &self.name,
                &self.owner,
                self.tenant,
                self.created,
                self.seq,
                self.floor,
                self.deleted,
            )),
            _ => proto::encode_plain(self),
        }
    }

    fn from_plain(version: u8, plain: &[u8]) -> Result<Self> {
        if version > 1 {
            return proto::decode_plain(plain);
        }
        let (root, name, owner, tenant, created, seq, floor, deleted) = proto::decode_plain(plain)?;
        Ok(Self { root, name, owner, tenant, created, seq, floor, deleted, commands: 0 })
    }
}
