//! Typed calls over requests and replies: what a caller packs, and where a server sends each verb.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use proto::{Call, Method};
use types::{Error, Result};

use crate::{Caller, Reply, Request};

impl Request {
    /// The request that asks `question`, with raw bytes beside it.
    pub fn of<Q: Call>(question: &Q, body: Bytes) -> Self {
        Self { method: Q::METHOD as u16, header: proto::encode(question), body }
    }
}

impl Reply {
    /// The reply that brings `answer`, with raw bytes beside it.
    fn of<Q: Call>(answer: &Q::Answer, body: Bytes) -> Self {
        Self { header: proto::encode(answer), body }
    }

    /// Reads the answer to a question of type `Q`; `Invalid` when it is not one.
    pub fn answer<Q: Call>(&self) -> Result<Q::Answer> {
        proto::decode(&self.header)
    }
}

type Handler<S> =
    Box<dyn for<'a> Fn(&'a S, &'a Caller, Request) -> BoxFuture<'a, Result<Reply>> + Send + Sync>;

/// Which function of a server `S` answers which verb: the only place where verb, question and answer meet.
pub struct Routes<S> {
    handlers: BTreeMap<Method, Handler<S>>,
}

impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
    }
}

impl<S: Send + Sync + 'static> Routes<S> {
    /// A server that answers nothing.
    #[allow(clippy::new_without_default, reason = "a server without routes is of no use")]
    pub fn new() -> Self {
        Self { handlers: BTreeMap::new() }
    }

    /// Lets `handler` answer the verb of `Q`. Panics when the verb has a handler already.
    pub fn on<Q: Call>(
        self,
        handler: impl for<'a> Fn(&'a S, &'a Caller, Q) -> BoxFuture<'a, Result<Q::Answer>> + Send + Sync + 'static,
    ) -> Self {
        self.on_request(Q::METHOD, move |server, caller, request| match proto::decode(&request.header) {
            Ok(question) => handler(server, caller, question)
                .map(|answer| Ok(Reply::of::<Q>(&answer?, Bytes::new())))
                .boxed(),
            Err(e) => std::future::ready(Err(e)).boxed(),
        })
    }

    /// As [`Routes::on`], for a question and an answer that travel with raw bytes.
    pub fn on_with_body<Q: Call>(
        self,
        handler: impl for<'a> Fn(&'a S, &'a Caller, Q, Bytes) -> BoxFuture<'a, Result<(Q::Answer, Bytes)>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.on_request(Q::METHOD, move |server, caller, request| match proto::decode(&request.header) {
            Ok(question) => handler(server, caller, question, request.body)
                .map(|answer| answer.map(|(answer, body)| Reply::of::<Q>(&answer, body)))
                .boxed(),
            Err(e) => std::future::ready(Err(e)).boxed(),
        })
    }

    /// Lets `handler` answer a verb whose request is not a [`Call`].
    pub fn on_request(
        mut self,
        method: Method,
        handler: impl for<'a> Fn(&'a S, &'a Caller, Request) -> BoxFuture<'a, Result<Reply>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let before = self.handlers.insert(method, Box::new(handler));
        assert!(before.is_none(), "{method:?} has two handlers");
        self
    }

    /// Sends a request to its handler. `Invalid` when there is none: the caller or this server is of another version.
    pub async fn dispatch(&self, server: &S, caller: &Caller, request: Request) -> Result<Reply> {
        let number = request.method;
        let handler = Method::from_number(number).and_then(|method| self.handlers.get(&method));
        match handler {
            Some(handler) => handler(server, caller, request).await,
            None => Err(Error::invalid(format!(
                "this node does not answer method {number}: update it, or its caller"
            ))),
        }
    }

    /// The verbs that are answered, by number.
    pub fn methods(&self) -> impl Iterator<Item = Method> {
        self.handlers.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use proto::cluster::{FetchMap, MapFetched};
    use proto::index::{FetchIndexStats, IndexStats};
    use types::{Epoch, ErrorKind, Identity, PartitionId};

    use super::*;
    use crate::Transport;

    struct Server(u64);

    impl Server {
        async fn fetch_map(&self, _caller: &Caller, question: FetchMap) -> Result<MapFetched> {
            if question.have.0 > self.0 {
                Err(Error::invalid("from the future"))
            } else {
                Ok(MapFetched { map: None })
            }
        }

        async fn stats(
            &self,
            _caller: &Caller,
            _: FetchIndexStats,
            body: Bytes,
        ) -> Result<(IndexStats, Bytes)> {
            Ok((IndexStats { chunks: self.0, ..IndexStats::default() }, body))
        }
    }

    fn routes() -> Routes<Server> {
        Routes::new()
            .on(|s: &Server, caller, q| s.fetch_map(caller, q).boxed())
            .on_with_body(|s: &Server, caller, q, body| s.stats(caller, q, body).boxed())
    }

    async fn ask(request: Request) -> Result<Reply> {
        let caller = Caller {
            identity: Identity::Anonymous,
            address: "127.0.0.1:1".parse().unwrap(),
            transport: Transport::Tcp,
        };
        routes().dispatch(&Server(7), &caller, request).await
    }

    #[tokio::test]
    async fn a_question_reaches_its_handler_and_brings_its_answer() {
        let reply = ask(Request::of(&FetchMap { have: Epoch(7) }, Bytes::new())).await.unwrap();
        assert_eq!(reply.answer::<FetchMap>().unwrap(), MapFetched { map: None });
        let error = ask(Request::of(&FetchMap { have: Epoch(8) }, Bytes::new())).await.unwrap_err();
        assert_eq!(error.message(), "from the future");
    }

    #[tokio::test]
    async fn bytes_travel_beside_both() {
        let question = FetchIndexStats { partition: PartitionId(1) };
        let reply = ask(Request::of(&question, Bytes::from_static(b"body"))).await.unwrap();
        assert_eq!(reply.answer::<FetchIndexStats>().unwrap().chunks, 7);
        assert_eq!(&reply.body[..], b"body");
    }

    #[tokio::test]
    async fn what_is_unknown_or_garbled_is_refused() {
        for (method, header) in
            [(0, &b""[..]), (u16::MAX, b""), (Method::Stat as u16, b""), (1, b""), (1, b"\xff\xff")]
        {
            let request = Request { method, header: Bytes::from_static(header), body: Bytes::new() };
            let kind = ask(request).await.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::Invalid | ErrorKind::Corrupt), "{method} {header:?}: {kind:?}");
        }
    }

    #[test]
    #[should_panic(expected = "FetchMap has two handlers")]
    fn a_verb_has_one_handler() {
        let _ = routes().on(|s: &Server, caller, q| s.fetch_map(caller, q).boxed());
    }
}
