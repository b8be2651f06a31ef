//! `cargo bench --bench index`: `alpinist index` compared with the real `apk index` on 5,000
//! packages, and with `sha256sum` on one of 1 GiB.
//!
//! The packages have the metadata of a real index, a signature, and data that takes about 8 KiB.
//! They are in the page cache. Ours checks each `datahash`, signs, and reads what it has signed;
//! `apk index` does none of that.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark may fail"
)]
#![expect(clippy::cast_precision_loss, reason = "a ratio for people")]

mod package;
mod support {
    pub(crate) mod figures;
    pub(crate) mod measured;
    pub(crate) mod real_index;
}

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use alpinist_tests::{Alpinist, KeyPair, Tools};
use support::{
    figures::median,
    measured::{Cost, measure, ratio},
    real_index,
};

/// How many packages are indexed.
const PACKAGES: usize = 5_000;

/// How many bytes of real text each package contains: compressed, they take about 8 KiB.
const CONTENT: usize = 23_000;

/// How many bytes the large package contains, and takes: they can't be compressed.
const LARGE: usize = 1 << 30;

/// How often each figure is measured.
const TIMES: usize = 11;

fn main() {
    let arguments: Vec<_> = env::args().collect();
    if let [_, generate, directory] = arguments.as_slice()
        && generate == "generate"
    {
        return generate_packages(Path::new(directory));
    }
    let directory = tempfile::tempdir().expect("a directory can be made");
    let directory = directory.path();
    // In its own process, since processes inherit the peak memory of the one that starts them.
    let mut generator = Command::new(env::current_exe().expect("we are a program"));
    measure(generator.arg("generate").arg(directory));
    let rivals = Rivals::new(directory);
    rivals.compare_on_many();
    rivals.compare_on_a_large_one();
}

/// Makes the packages below `directory`: `many` and `large`.
fn generate_packages(directory: &Path) {
    let mut random = fastrand::Rng::with_seed(11);
    let many = directory.join("many");
    fs::create_dir(&many).expect("a directory can be made");
    // Some of the entries have dependencies that packages may no longer have.
    let metadata = real_index::entries(2 * PACKAGES).into_iter().map(|entry| entry.metadata);
    let buildable = metadata.filter(package::may_be_built);
    let text = real_index::entries(4_000).iter().map(ToString::to_string).collect::<String>();
    for metadata in buildable.take(PACKAGES) {
        let begin = random.usize(..text.len() - CONTENT);
        package::write(&many, &metadata, &text.as_bytes()[begin..begin + CONTENT]);
    }
    let large = directory.join("large");
    fs::create_dir(&large).expect("a directory can be made");
    let mut metadata = real_index::entries(1).remove(0).metadata;
    metadata.installed_size = LARGE as u64;
    let mut content = vec![0; LARGE];
    random.fill(&mut content);
    package::write(&large, &metadata, &content);
}

/// The programs that are compared, and the packages.
struct Rivals<'a> {
    alpinist: Alpinist,
    tools: Tools,
    directory: &'a Path,
    key: PathBuf,
    key_name: String,
}

impl<'a> Rivals<'a> {
    fn new(directory: &'a Path) -> Self {
        let alpinist = Alpinist::build().expect("the command can be built");
        let tools = Tools::install().expect("the real apk can be installed");
        let pair =
            KeyPair::generate("bench@example.com", KeyPair::BITS).expect("openssl makes one");
        let key = directory.join("key.rsa");
        fs::write(&key, pair.private()).expect("a file can be written");
        Self { alpinist, tools, directory, key, key_name: pair.name().to_owned() }
    }

    fn compare_on_many(&self) {
        let many = self.directory.join("many");
        let packages: Vec<_> = fs::read_dir(&many)
            .expect("it was made")
            .map(|entry| entry.expect("it can be listed").path())
            .collect();
        let archive = self.directory.join("theirs.tar.gz");
        let pairs: Vec<_> = (0..TIMES)
            .map(|_| {
                let mut theirs = self.tools.apk().index_command("x86_64", &archive, &packages);
                theirs.arg("--no-warnings");
                (measure(&mut self.ours(&many)), measure(&mut theirs))
            })
            .collect();
        println!("{PACKAGES} packages               wall       CPU       memory");
        print_pairs("alpinist index", "apk index", &pairs);
    }

    fn compare_on_a_large_one(&self) {
        let large = self.directory.join("large");
        let package = fs::read_dir(&large).expect("it was made").next().expect("it was made");
        let package = package.expect("it can be listed").path();
        let pairs: Vec<_> = (0..5)
            .map(|_| {
                let mut sha256sum = Command::new("sha256sum");
                (measure(&mut self.ours(&large)), measure(sha256sum.arg(&package)))
            })
            .collect();
        println!("one package of 1 GiB        wall       CPU       memory");
        print_pairs("alpinist index", "sha256sum", &pairs);
    }

    fn ours(&self, directory: &Path) -> Command {
        let mut ours = self.alpinist.command();
        ours.arg("index").arg(directory).arg("--key").arg(&self.key);
        ours.args(["--key-name", &self.key_name, "--out"]).arg(self.directory.join("ours.tar.gz"));
        ours
    }
}

fn print_pairs(ours: &str, theirs: &str, pairs: &[(Cost, Cost)]) {
    let ours = print_medians(ours, pairs.iter().map(|pair| pair.0));
    let theirs = print_medians(theirs, pairs.iter().map(|pair| pair.1));
    let memory = ours.memory as f64 / theirs.memory as f64;
    let (wall, processor) =
        (ratio(ours.wall, theirs.wall), ratio(ours.processor, theirs.processor));
    println!("  ratio            {wall:>13.2} {processor:>9.2} {memory:>12.2}\n");
}

fn print_medians(name: &str, costs: impl Iterator<Item = Cost> + Clone) -> Cost {
    let cost = Cost {
        wall: median(costs.clone().map(|cost| cost.wall)),
        processor: median(costs.clone().map(|cost| cost.processor)),
        memory: median(costs.map(|cost| cost.memory)),
    };
    let Cost { wall, processor, memory } = cost;
    let mebibytes = memory.div_ceil(1 << 20);
    println!(
        "  {name:<17} {:>10.3} s {:>7.3} s {mebibytes:>8} MiB",
        wall.as_secs_f64(),
        processor.as_secs_f64()
    );
    cost
}
