//! The asking side: how one identity at one address uses the network.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use env::time::{self, Duration};
use types::limits::PEER_SILENCE_MS_MAX;
use types::{Error, Identity, Result};

use super::attached::Attachments;
use super::event::{Letter, LinkEventKind};
use super::fabric::{Fabric, Side};
use crate::frame::{Frame, check_size};
use crate::{Caller, Dial, Reply, Request, Target, explain};

/// Starts no tasks: what a caller waits for is gone with it.
pub(super) struct Port {
    pub fabric: Arc<Fabric>,
    pub attachments: Arc<Attachments>,
    pub address: SocketAddr,
    pub identity: Identity,
}

impl Port {
    async fn exchange(
        &self,
        target: &Target,
        letter: &Letter,
        request: Request,
        timeout: Duration,
    ) -> Result<Frame> {
        self.fabric.note(LinkEventKind::Sent, letter);
        let Some(server) = self.attachments.find(target.address) else {
            return Err(self.meet_nobody(letter).await);
        };
        let ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let caller =
            Caller { identity: self.identity.clone(), address: self.address, transport: target.transport };
        let Some(inlet) = server.ask(*letter, caller, Frame::request(letter.number, request, ms)) else {
            return Err(self.hear_nothing(letter).await);
        };
        // Else a server that is gone would live on for as long as somebody waits for it.
        drop(server);
        match inlet.await {
            Ok(Some(answer)) if self.fabric.arrive(&answer.letter, answer.arrival).await => {
                self.fabric.note(LinkEventKind::Returned, &answer.letter);
                Ok(answer.frame)
            }
            Ok(_) => Err(self.hear_nothing(letter).await),
            Err(_) => Err(self.hear(LinkEventKind::Closed, explain::closed(), letter).await),
        }
    }

    /// Sends `letter` to where nobody answers.
    async fn meet_nobody(&self, letter: &Letter) -> Error {
        match self.fabric.send(letter) {
            Some(arrival) if self.fabric.arrive(letter, arrival).await => {
                self.hear(LinkEventKind::Refused, explain::refused(), letter).await
            }
            _ => self.hear_nothing(letter).await,
        }
    }

    /// Waits for the word that there will be no answer to `letter`. It travels as answers do.
    async fn hear(&self, kind: LinkEventKind, error: Error, letter: &Letter) -> Error {
        let notice = letter.notice();
        match self.fabric.send(&notice) {
            Some(arrival) if self.fabric.arrive(&notice, arrival).await => {
                self.fabric.note(kind, letter);
                error
            }
            _ => self.hear_nothing(letter).await,
        }
    }

    /// Waits until the silence of the other side shows.
    async fn hear_nothing(&self, letter: &Letter) -> Error {
        time::sleep(Duration::from_millis(PEER_SILENCE_MS_MAX)).await;
        self.fabric.note(LinkEventKind::TimedOut, letter);
        explain::silent()
    }
}

#[async_trait]
impl Dial for Port {
    async fn call(&self, target: &Target, request: Request, timeout: Duration) -> Result<Reply> {
        check_size(request.header.len(), request.body.len())?;
        let letter = self.fabric.letter(self.address, target.address, &request);
        let _open = self.fabric.open_call(self.address, Side::Asked);
        match time::timeout(timeout, self.exchange(target, &letter, request, timeout)).await {
            Ok(Ok(answer)) => answer.into_result(),
            Ok(Err(e)) => Err(e.context(target)),
            Err(time::Elapsed) => {
                self.fabric.note(LinkEventKind::TimedOut, &letter);
                Err(explain::late().context(target))
            }
        }
    }
}
