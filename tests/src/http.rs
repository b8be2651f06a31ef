//! HTTP to the emulator: for clients of the AWS SDK, and plain requests without credentials.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::Error;

/// The emulator is on this machine; only a broken one takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the HTTP client for clients of the AWS SDK.
pub fn client() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// An answer to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status code, such as 200.
    pub status: u16,
    /// The headers, as they were sent.
    pub headers: String,
    /// The body, such as an object's content.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.lines().filter_map(|line| line.split_once(": "));
        Some(headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?.1)
    }
}

/// Gets `url`, which begins with `http://` and a host with a port, without credentials.
///
/// # Errors
///
/// [`Error::Http`] if there is no answer. A status such as 404 is an answer.
pub fn get(url: &str) -> Result<Answer, Error> {
    get_with(url, &[])
}

/// Gets `url`, as [`get`] does, with these headers. `Host` may be another host.
///
/// # Errors
///
/// [`Error::Http`] if there is no answer.
pub fn get_with(url: &str, headers: &[(&str, &str)]) -> Result<Answer, Error> {
    exchange(url, headers).map_err(|source| Error::Http { url: url.to_owned(), source })
}

fn exchange(url: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    let address = url.strip_prefix("http://").ok_or(io::ErrorKind::InvalidInput)?;
    let (host, path) = address.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // HTTP/1.0, so that the body ends when the connection does.
    write!(stream, "GET /{path} HTTP/1.0\r\n")?;
    if !headers.iter().any(|(name, _)| *name == "Host") {
        write!(stream, "Host: {host}\r\n")?;
    }
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    answer(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    const END_OF_HEADERS: &[u8] = b"\r\n\r\n";
    let end = bytes.windows(END_OF_HEADERS.len()).position(|window| window == END_OF_HEADERS)?;
    let (headers, body) = bytes.split_at_checked(end + END_OF_HEADERS.len())?;
    let headers = str::from_utf8(headers).ok()?.to_owned();
    let status = headers.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, headers, body: body.to_vec() })
}
