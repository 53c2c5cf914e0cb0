//! Asks single nodes for chunks: each coordinates on its own, with its own view of the map and its own disks.

use std::collections::BTreeSet;

use bytes::Bytes;
use chunk::manifest::{Content, node_id, parse_node};
use futures::StreamExt;
use futures::stream;
use net::Request;
use proto::block::{ChunkKind, GetChunk};
use proto::map::Role;
use proto::namespace::Opened;
use proto::seal::Ticket;
use types::limits::{CHUNK_ATTEMPT_TIMEOUT, MIB};
use types::{ChunkId, Error, ErrorKind, NodeId, Result};

use super::found::Served;
use super::patience::{READS_IN_FLIGHT, patiently};
use crate::session::Session;

/// A chunk, and the right to read it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    id: ChunkId,
    kind: ChunkKind,
    ticket: Ticket,
    /// Bytes, at most.
    size: u64,
}

/// The chunks that a version itself names.
pub(super) fn sources(opened: &Opened) -> Vec<Source> {
    let chunks: Vec<(ChunkId, ChunkKind, u64)> = match &opened.manifest.content {
        Content::Inline(_) | Content::Sealed { .. } => Vec::new(),
        Content::Chunks(chunks) => {
            chunks.iter().map(|chunk| (chunk.id, ChunkKind::Data, chunk.size.into())).collect()
        }
        Content::Tree { root, .. } => vec![(*root, ChunkKind::ManifestNode, MIB as u64)],
    };
    let chunks = chunks.into_iter().zip(&opened.tickets);
    chunks.map(|((id, kind, size), ticket)| Source { id, kind, ticket: *ticket, size }).collect()
}

/// Asks every node that keeps chunks and is up for each of these and what they list, once per chunk, until so many bytes
/// have come.
pub(super) async fn ask_nodes(session: &Session, mut level: Vec<Source>, bytes_max: u64) -> Vec<Served> {
    let map = session.cluster.map();
    let can_serve = map.nodes.iter().filter(|(_, node)| node.up && node.roles.contains(&Role::Block));
    let nodes: Vec<NodeId> = can_serve.map(|(id, _)| *id).collect();
    let mut known = BTreeSet::new();
    let mut bytes_left = bytes_max;
    let mut served = Vec::new();
    while !level.is_empty() {
        level.retain(|source| {
            let cost = source.size * nodes.len() as u64;
            let is_asked = cost <= bytes_left && known.insert(source.id);
            bytes_left -= if is_asked { cost } else { 0 };
            is_asked
        });
        let asked = stream::iter(std::mem::take(&mut level)).map(|source| ask_all(session, source, &nodes));
        let mut asked = asked.buffered(READS_IN_FLIGHT);
        while let Some((answers, below)) = asked.next().await {
            served.extend(answers);
            level.extend(below);
        }
    }
    served
}

/// What each node answers, and what the chunk lists when it is a manifest node.
async fn ask_all(session: &Session, source: Source, nodes: &[NodeId]) -> (Vec<Served>, Vec<Source>) {
    let mut served = Vec::new();
    let mut below = Vec::new();
    for node in nodes {
        let answer = patiently(async || ask_anew(session, source, *node).await).await;
        let outcome = answer.map(|sources| below = sources);
        served.push(Served { chunk: source.id, node: *node, outcome });
    }
    (served, below)
}

/// A survey takes longer than a ticket lasts.
async fn ask_anew(session: &Session, source: Source, node: NodeId) -> Result<Vec<Source>> {
    match ask(session, source, node).await {
        Err(e) if e.kind() == ErrorKind::Denied => {
            let ticket = session.blocks.renew(source.id, source.ticket).await?;
            ask(session, Source { ticket, ..source }, node).await
        }
        answer => answer,
    }
}

async fn ask(session: &Session, source: Source, node: NodeId) -> Result<Vec<Source>> {
    let Source { id, kind, ticket, .. } = source;
    let request = Request::of(&GetChunk { id, ticket, kind, range: None }, Bytes::new());
    let reply = session.cluster.call_node(node, request, CHUNK_ATTEMPT_TIMEOUT).await?;
    let tickets = reply.answer::<GetChunk>()?.tickets;
    let found = match kind {
        ChunkKind::Data => chunk::chunk_id(&reply.body),
        ChunkKind::ManifestNode => node_id(&reply.body),
    };
    if found != id {
        return Err(Error::corrupt(format!("it is {found}")));
    }
    if kind == ChunkKind::Data {
        return Ok(Vec::new());
    }
    let listed = parse_node(&reply.body)?;
    let kind = if listed.level == 0 { ChunkKind::Data } else { ChunkKind::ManifestNode };
    let size = |bytes: u64| if listed.level == 0 { bytes } else { MIB as u64 };
    let below = listed.entries.iter().zip(tickets);
    Ok(below.map(|(entry, ticket)| Source { id: entry.id, kind, ticket, size: size(entry.size) }).collect())
}
