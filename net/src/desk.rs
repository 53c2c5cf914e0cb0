//! Where requests of all transports come in: counted, admitted, answered by their deadline.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use env::time::{self, Duration, Instant};
use futures::FutureExt;
use types::limits::{REQUEST_DEADLINE_MS_DEFAULT, REQUEST_DEADLINE_MS_MAX};
use types::{ClusterId, Error, Result};

use crate::admission::{Admission, Line, Load, Permit};
use crate::frame::{Frame, Hello, Prefix};
use crate::seat::Seat;
use crate::{Caller, Counters, Request, Service, hello};

/// Takes an answer back to its caller. An answer that cannot be delivered is dropped: the caller is gone.
pub(crate) trait Outlet: Send {
    fn deliver(self, answer: Frame) -> impl Future<Output = ()> + Send;
}

/// The desk of one server.
pub(crate) struct Desk {
    cluster: ClusterId,
    service: Arc<dyn Service>,
    admission: Arc<Admission>,
    pub counters: Arc<Counters>,
}

/// An admitted request whose bytes may still be on their way.
pub(crate) struct Admitted {
    pub id: u64,
    pub deadline: Instant,
    permit: Permit,
}

impl Desk {
    pub(crate) fn new(cluster: ClusterId, service: Arc<dyn Service>, load: Load) -> Arc<Self> {
        let counters: Arc<Counters> = Arc::default();
        let admission = Admission::new(load, counters.clone());
        Arc::new(Self { cluster, service, admission, counters })
    }

    /// Takes in a caller's connection; `Busy` when there are too many.
    pub(crate) fn connect(&self, caller: &Caller) -> Result<Line> {
        self.admission.connect(&caller.identity)
    }

    /// Answers a peer's first frame; an error means that the connection ends here.
    pub(crate) fn greet(&self, first: &Frame) -> Result<Frame> {
        let ours = hello::ours(self.cluster);
        hello::check(&ours, &Hello::decode(first)?)?;
        Ok(Frame::hello(&ours))
    }

    /// Decides on a request by its prefix, before its bytes take memory. `Err` is the answer to send.
    pub(crate) fn admit(&self, caller: &Caller, line: &Line, prefix: &Prefix) -> Result<Admitted, Frame> {
        let tally = self.counters.tally(caller.transport);
        tally.count_request();
        let permit = line.admit(prefix.method, prefix.payload_size()).map_err(|e| {
            tally.count_error();
            Frame::error(prefix.id, &e)
        })?;
        self.counters.count_admitted(permit.lane(), prefix.payload_size());
        let ms = match prefix.deadline_ms {
            0 => REQUEST_DEADLINE_MS_DEFAULT,
            ms => ms.min(REQUEST_DEADLINE_MS_MAX),
        };
        let deadline = time::now() + Duration::from_millis(u64::from(ms));
        Ok(Admitted { id: prefix.id, deadline, permit })
    }

    /// Lets the service answer. Runs until the service is done, which can be after the answer was due: only then is
    /// the permit given back, so that work nobody waits for still counts as load; unless the service steps aside.
    pub(crate) async fn answer(
        &self,
        caller: &Caller,
        admitted: Admitted,
        request: Request,
        outlet: impl Outlet,
    ) {
        let Admitted { id, deadline, permit } = admitted;
        let lane = permit.lane();
        let seat = Arc::new(Seat::new(permit));
        let call = seat.clone().hold(self.service.call(caller, request, deadline));
        let mut work = std::pin::pin!(AssertUnwindSafe(call).catch_unwind());
        let done = time::timeout_at(deadline, &mut work).await;
        let late = done.is_err();
        let result = match done {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(broken(caller)),
            Err(time::Elapsed) => {
                Err(Error::unavailable("the server did not finish before the deadline; it may still finish"))
            }
        };
        if result.is_err() {
            self.counters.tally(caller.transport).count_error();
        }
        let is_error = result.is_err();
        let answer = Frame::answer(id, result);
        self.counters.count_answer(lane, answer.prefix.payload_size(), is_error);
        let deliver = outlet.deliver(answer);
        if late {
            if let ((), Err(_)) = futures::join!(deliver, work) {
                broken(caller);
            }
        } else {
            seat.leave();
            deliver.await;
        }
    }
}

fn broken(caller: &Caller) -> Error {
    tracing::error!(%caller.identity, %caller.address, "a request made the service panic");
    Error::internal("the server failed while it answered; its log says more")
}
