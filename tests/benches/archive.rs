//! `cargo bench --bench archive`: compressing and signing an index of 30,000 entries, compared with
//! `gzip -9` and `openssl`.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark may fail"
)]
#![expect(clippy::cast_precision_loss, reason = "a ratio for people")]

mod support {
    pub(crate) mod figures;
    #[expect(dead_code, reason = "only the time matters here")]
    pub(crate) mod measured;
    pub(crate) mod real_index;
}

use std::{
    fs,
    hint::black_box,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use alpinist_apk::{index::Index, index_archive, key::SigningKey, key_name::KeyName};
use alpinist_tests::KeyPair;
use rand_core::OsRng;
use support::{
    figures::median,
    measured::{measure, ratio},
    real_index,
};

/// How many packages the index has.
const PACKAGES: usize = 30_000;

/// How often each figure is measured.
const TIMES: usize = 11;

fn main() {
    let index = Index::new(real_index::entries(PACKAGES));
    let pair = KeyPair::generate("bench@example.com", KeyPair::BITS).expect("openssl makes one");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let theirs = Theirs::new(directory.path(), &index, &pair);
    let key = SigningKey::from_pem(pair.private()).expect("openssl makes good ones");
    let name: KeyName = pair.name().parse().expect("openssl makes good ones");
    let mut size = 0;
    let pairs: Vec<_> = (0..TIMES)
        .map(|_| {
            let start = Instant::now();
            let archive = ours(&index, &key, &name);
            let ours = start.elapsed();
            size = black_box(archive).len();
            (ours, theirs.compress(), theirs.sign())
        })
        .collect();
    let ours = median(pairs.iter().map(|times| times.0));
    let compress = median(pairs.iter().map(|times| times.1));
    let sign = median(pairs.iter().map(|times| times.2));
    let their_size = theirs.size();
    println!("an index of {PACKAGES} packages   time        bytes");
    println!("  ours, signed twice       {:>7.3} s {size:>10}", ours.as_secs_f64());
    println!("  gzip -9                  {:>7.3} s {their_size:>10}", compress.as_secs_f64());
    println!("  openssl dgst -sign       {:>7.3} s", sign.as_secs_f64());
    println!(
        "  ratio to gzip -9         {:>7.2}   {:>10.3}",
        ratio(ours, compress),
        size as f64 / their_size as f64
    );
}

fn ours(index: &Index, key: &SigningKey, name: &KeyName) -> Vec<u8> {
    let unsigned = index_archive::write_unsigned("", index).expect("memory takes it");
    let signatures = key.sign_index(name, &unsigned, &mut OsRng).expect("the key is good");
    index_archive::write_signed(&signatures, &unsigned).expect("memory takes it")
}

/// The files that the other programs work on.
struct Theirs<'a> {
    directory: &'a Path,
}

impl<'a> Theirs<'a> {
    fn new(directory: &'a Path, index: &Index, pair: &KeyPair) -> Self {
        let write = |name: &str, content: &str| {
            fs::write(directory.join(name), content).expect("a file can be written");
        };
        write("APKINDEX", &index.to_string());
        write("key.rsa", pair.private());
        Self { directory }
    }

    fn compress(&self) -> Duration {
        let mut gzip = Command::new("gzip");
        gzip.args(["-9", "--no-name", "--keep", "--force", "APKINDEX"]);
        measure(gzip.current_dir(self.directory)).wall
    }

    fn sign(&self) -> Duration {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256", "-sign", "key.rsa", "-out", "signature", "APKINDEX.gz"]);
        measure(openssl.current_dir(self.directory)).wall
    }

    fn size(&self) -> u64 {
        fs::metadata(self.directory.join("APKINDEX.gz")).expect("gzip made it").len()
    }
}
