//! The way from a client to CloudFront: a proxy that ends TLS in front of the emulator.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::workspace::temporary_directory;
use crate::{Error, Stack, Tools, command, tools};

const CERTIFICATE: &str = "viewer.crt";

/// Clients that reach the distributions of a stack by their names, over TLS. It ends when this is
/// dropped or this process ends.
#[derive(Debug)]
pub struct Viewer {
    proxy: Child,
    address: String,
    directory: TempDir,
}

impl Viewer {
    /// Starts the proxy, with a new certificate for all distributions.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if openssl is not installed.
    pub fn start(stack: &Stack) -> Result<Self, Error> {
        let directory = temporary_directory("viewer-")?;
        let [certificate, key] =
            [CERTIFICATE, "viewer.key"].map(|name| directory.path().join(name));
        let mut openssl = tools::openssl()?;
        openssl.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"]);
        openssl.args(["ec_paramgen_curve:prime256v1", "-days", "2", "-subj", "/CN=viewer"]);
        openssl.args(["-addext", "subjectAltName=DNS:*.cloudfront.net"]);
        command::output(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate))?;
        let mut script = Tools::install()?.script("viewer.py");
        script.arg(stack.endpoint()).args([certificate, key]);
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut proxy = script.spawn().map_err(command::not_started(&script))?;
        let mut port = String::new();
        if let Some(stdout) = proxy.stdout.take() {
            // Nothing is read if the script fails, and says why.
            let _ = BufReader::new(stdout).read_line(&mut port);
        }
        let address = format!("http://127.0.0.1:{}", port.trim());
        Ok(Self { proxy, address, directory })
    }

    /// Returns the environment of a program that reaches distributions by their names, and trusts
    /// the certificate.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        let certificate = self.directory.path().join(CERTIFICATE).to_string_lossy().into_owned();
        let proxies = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"];
        let [one, two, three, four] = proxies.map(|name| (name, self.address.clone()));
        [one, two, three, four, ("SSL_CERT_FILE", certificate)]
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        drop(self.proxy.stdin.take());
        let _ = self.proxy.wait();
    }
}
