//! Pages of text over plain HTTP, for monitors that speak nothing else.
//!
//! Owns: the port, and the bounds of what is asked: few connections, small requests, one answer each, a deadline.
//! Knows nothing of: what the pages say. Nobody proves who they are here: pages have no secrets, and change nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use env::task::JoinHandle;
use env::time;
use http::{Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use types::Result;
use types::limits::{ACCEPT_PAUSE, PAGE_CONNECTION_COUNT_MAX, PAGE_REQUEST_SIZE_MAX, PAGE_TIMEOUT};

use crate::server::bind_error;

/// What is answered to a request for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// True for 200, false for 503: what a monitor looks at.
    pub is_good: bool,
    /// What a person reads.
    pub text: String,
}

type Show = dyn Fn(&str) -> Option<Page> + Send + Sync;

/// Shows pages until it is dropped.
#[derive(Debug)]
pub struct PageServer {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl PageServer {
    /// Listens on `address`; port 0 lets the system choose. `show` has the page of each path, `None` for 404, and must
    /// not block. `Unavailable` when the port is taken.
    pub async fn start(address: SocketAddr, show: Arc<Show>) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|e| bind_error(address, &e))?;
        let address = listener.local_addr().map_err(|e| bind_error(address, &e))?;
        Ok(Self { address, serving: env::task::spawn(serve(listener, show)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, show: Arc<Show>) {
    let slots = Arc::new(Semaphore::new(PAGE_CONNECTION_COUNT_MAX));
    loop {
        // Whoever comes when all are taken waits in the system's queue, for no longer than a page takes.
        let slot = slots.clone().acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((socket, _)) => {
                let show = show.clone();
                env::task::spawn(async move {
                    let _ = time::timeout(PAGE_TIMEOUT, connection(socket, show)).await;
                    drop(slot);
                });
            }
            Err(_) => time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One request, one answer. A caller that breaks the rules of HTTP is answered by the library, or not at all.
async fn connection(socket: TcpStream, show: Arc<Show>) {
    let answer = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
        let page = match *request.method() {
            Method::GET | Method::HEAD => show(request.uri().path()).ok_or(StatusCode::NOT_FOUND),
            _ => Err(StatusCode::METHOD_NOT_ALLOWED),
        };
        std::future::ready(Ok::<_, Infallible>(respond(page)))
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(PAGE_REQUEST_SIZE_MAX);
    let _ = http.serve_connection(TokioIo::new(socket), answer).await;
}

fn respond(page: std::result::Result<Page, StatusCode>) -> Response<Full<Bytes>> {
    let (status, text) = match page {
        Ok(Page { is_good: true, text }) => (StatusCode::OK, text),
        Ok(Page { is_good: false, text }) => (StatusCode::SERVICE_UNAVAILABLE, text),
        Err(status) => (status, format!("{status}\n")),
    };
    let response = Response::builder().status(status).header(header::CACHE_CONTROL, "no-store");
    let response = response.header(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    response.body(Full::new(text.into())).expect("these headers are valid")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn server() -> PageServer {
        let show = |path: &str| match path {
            "/good" => Some(Page { is_good: true, text: "all is well\n".into() }),
            "/bad" => Some(Page { is_good: false, text: "nothing is\n".into() }),
            _ => None,
        };
        PageServer::start("127.0.0.1:0".parse().unwrap(), Arc::new(show)).await.unwrap()
    }

    /// Sends bytes and reads until the server ends the connection.
    async fn exchange(server: &PageServer, request: &[u8]) -> String {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        // A server that has seen enough does not wait for the rest.
        let _ = socket.write_all(request).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_path_has_its_page() {
        let server = server().await;
        for (request, status, end) in [
            ("GET /good HTTP/1.1\r\nhost: x\r\n\r\n", "200", "\r\n\r\nall is well\n"),
            ("GET /good?x=1 HTTP/1.0\r\n\r\n", "200", "\r\n\r\nall is well\n"),
            ("HEAD /good HTTP/1.1\r\nhost: x\r\n\r\n", "200", "\r\n\r\n"),
            ("GET /bad HTTP/1.1\r\nhost: x\r\n\r\n", "503", "\r\n\r\nnothing is\n"),
            ("GET /else HTTP/1.1\r\nhost: x\r\n\r\n", "404", "404 Not Found\n"),
            (
                "POST /good HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
                "405",
                "405 Method Not Allowed\n",
            ),
            ("nonsense\r\n\r\n", "400", ""),
        ] {
            let answer = exchange(&server, request.as_bytes()).await;
            let is_status = answer.split(' ').nth(1) == Some(status);
            assert!(is_status && answer.ends_with(end), "{request:?} {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_request_is_small() {
        let server = server().await;
        let long = format!("GET /good HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2 * PAGE_REQUEST_SIZE_MAX));
        assert!(!exchange(&server, long.as_bytes()).await.contains("200 OK"));
        assert!(exchange(&server, b"GET /good HTTP/1.0\r\n\r\n").await.contains("200 OK"));
    }

    /// Connections that say nothing take all slots, but only until their time is up.
    #[tokio::test]
    async fn who_says_nothing_is_let_go() {
        let server = server().await;
        let mut silent = Vec::new();
        for _ in 0..PAGE_CONNECTION_COUNT_MAX {
            silent.push(TcpStream::connect(server.address()).await.unwrap());
        }
        assert!(exchange(&server, b"GET /good HTTP/1.0\r\n\r\n").await.contains("200 OK"));
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let server = server().await;
        let error = PageServer::start(server.address(), Arc::new(|_: &str| None)).await.unwrap_err();
        assert!(error.message().contains(&server.address().to_string()), "{error}");
    }
}
