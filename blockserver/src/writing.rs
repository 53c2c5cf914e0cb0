//! What is being stored, for whoever brings the same meanwhile.

use futures::future::BoxFuture;
use proto::seal::Receipt;
use types::Result;

/// A chunk that is being stored; whoever brings the same chunk meanwhile waits for the same outcome.
pub(crate) type Shared = futures::future::Shared<BoxFuture<'static, Result<Receipt>>>;
