use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use alpinist_apk::{
    entry::IndexEntry,
    key::VerifyingKey,
    key_name::SignerName,
    package::Package,
    package_signature::PackageSignature,
    text::{Excerpt, chain, escaped},
    value::Architecture,
};
use alpinist_repository::{message, rejection::Rejection, step};
use clap::Args;
use serde::Serialize;

use crate::{
    context::Access,
    error::Error,
    output::{BAD, ExitStatus, GOOD, HEADING, Output, WriteText},
    package_file,
    repository::architecture_of_clients,
    sections::{self, Section},
    source::Source,
};

const EXAMPLES: &str = "\
Examples:
  alpinist inspect hello-1.0-r0.apk

  # What lies in the bucket.
  alpinist inspect s3://example-packages/3.22/main/x86_64/hello-1.0-r0.apk

  # What a repository serves.
  alpinist inspect https://packages.example.com/3.22/main/x86_64/hello-1.0-r0.apk

  # Check its signatures with the keys that this machine trusts.
  alpinist inspect hello-1.0-r0.apk --keys-dir /etc/apk/keys

  # In a script: the checksum that the index would have.
  alpinist inspect hello-1.0-r0.apk --json | jq -r .entry | sed -n s/^C://p";

/// Show what a package is, and each rule that it breaks
///
/// Shows its sections, its signatures and who made them, its `.PKGINFO`, and the entry that it
/// would get in an index. The exit status is 1 if it breaks a rule, so that it would not be listed.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// The package: a file, `s3://BUCKET/KEY`, or a URL
    file: PathBuf,
    /// The architecture of the directory that it is for, if it is not its own
    #[arg(long, value_name = "ARCH", value_parser = architecture_of_clients)]
    arch: Option<Architecture>,
    /// A directory of public keys to check signatures with
    #[arg(long, value_name = "DIR")]
    keys_dir: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// What was found out about a package.
#[derive(Debug, Serialize)]
struct Inspected {
    file: PathBuf,
    size: u64,
    sections: Vec<Section>,
    signatures: Vec<SignatureSeen>,
    #[serde(rename = "pkginfo")]
    info: Option<String>,
    entry: Option<String>,
    broken_rules: Vec<BrokenRule>,
    warnings: Vec<String>,
}

/// A signature, and whether it is right.
#[derive(Debug, Serialize)]
struct SignatureSeen {
    algorithm: &'static str,
    key_name: SignerName,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The key is known, and made it.
    Right,
    /// The key is known, and did not make it.
    Wrong,
    /// No key with this name is known.
    Unknown,
}

#[derive(Debug, Serialize)]
struct BrokenRule {
    rule: String,
    remedy: String,
}

impl From<&Rejection> for BrokenRule {
    fn from(rejection: &Rejection) -> Self {
        Self { rule: chain(rejection), remedy: rejection.remedy() }
    }
}

type TrustedKeys = BTreeMap<String, VerifyingKey>;

impl Inspect {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let source = Source::open(&self.file, self.access.clone()).await?;
        let keys = self.keys_dir.as_deref().map(read_keys).transpose()?.unwrap_or_default();
        let sections::Sections { sections, info } = sections::look(source.path())?;
        let metadata = fs::metadata(source.path()).map_err(Error::file("inspect", &self.file))?;
        let mut renamed = None;
        let (signatures, entry, mut broken_rules) = match package_file::read(source.path())? {
            Err(error) => (Vec::new(), None, vec![(&Rejection::from(error)).into()]),
            Ok(package) => {
                renamed = file_name(&package, &source.stem());
                self.verify_signatures(&package, &keys)
            }
        };
        let mut warnings = entry.as_ref().map(message::warnings).unwrap_or_default();
        if let Some(rejection @ Rejection::FileName { expected, .. }) = &renamed {
            // A file gets its key when it is uploaded.
            if source.is_file() {
                warnings.push(format!(
                    "The repository knows it as {expected}.apk: `alpinist push` uploads it so, and `aws s3 cp` must be \
                     told to."
                ));
            } else {
                broken_rules.push(rejection.into());
            }
        }
        let answer = if broken_rules.is_empty() { ExitStatus::Yes } else { ExitStatus::No };
        let size = metadata.len();
        let file = self.file;
        let entry = entry.as_ref().map(ToString::to_string);
        let inspected =
            Inspected { file, size, sections, signatures, info, entry, broken_rules, warnings };
        output.print(&inspected)?;
        Ok(answer)
    }

    fn verify_signatures(
        &self,
        package: &Package,
        keys: &TrustedKeys,
    ) -> (Vec<SignatureSeen>, Option<IndexEntry>, Vec<BrokenRule>) {
        let signatures: Vec<_> =
            package.signatures.control().iter().map(|signature| check(signature, keys)).collect();
        let mut broken = Vec::new();
        // The first signature with a known key decides, as in `apk add FILE`.
        if let Some(first) = signatures.iter().find(|seen| seen.verdict != Verdict::Unknown)
            && first.verdict == Verdict::Wrong
        {
            let key_name = first.key_name.clone();
            broken.push((&Rejection::Signature { key_name }).into());
        }
        let own = &package.metadata.architecture;
        let directory = self.arch.as_ref().unwrap_or(own).clone();
        let entry = judge_each_rule(package, &directory, &mut broken);
        (signatures, entry, broken)
    }
}

/// Makes the entry of a package, and collects each rule that it breaks; the steps stop at the
/// first.
fn judge_each_rule(
    package: &Package,
    directory: &Architecture,
    broken: &mut Vec<BrokenRule>,
) -> Option<IndexEntry> {
    let metadata = &package.metadata;
    let right_stem = format!("{}-{}", metadata.name, metadata.version);
    let made = step::make_entry(&metadata.architecture, &right_stem, package.clone());
    let placed = step::make_entry(directory, &right_stem, package.clone());
    if let Err(rejection) = &made {
        broken.push(rejection.into());
    }
    if let Err(rejection @ (Rejection::Architecture { .. } | Rejection::UnknownDirectory { .. })) =
        &placed
        && directory != &metadata.architecture
    {
        broken.push(rejection.into());
    }
    placed.or(made).ok()
}

/// Returns a rejection if the file name is not the one that the package's key needs.
fn file_name(package: &Package, stem: &str) -> Option<Rejection> {
    let metadata = &package.metadata;
    let expected = format!("{}-{}", metadata.name, metadata.version);
    let found = Excerpt::of(stem.as_bytes());
    (stem != expected).then_some(Rejection::FileName { found, expected })
}

fn check(signature: &PackageSignature, keys: &TrustedKeys) -> SignatureSeen {
    let key_name = signature.name.key_name.clone();
    let verdict = match keys.get(key_name.as_str()) {
        None => Verdict::Unknown,
        Some(key) if signature.is_by(key) => Verdict::Right,
        Some(_) => Verdict::Wrong,
    };
    SignatureSeen { algorithm: signature.name.algorithm.name(), key_name, verdict }
}

/// Reads the public keys of a directory, by name. Other files are skipped, as apk does.
fn read_keys(directory: &Path) -> Result<TrustedKeys, Error> {
    let mut keys = TrustedKeys::new();
    for entry in fs::read_dir(directory).map_err(Error::file("list", directory))? {
        let path = entry.map_err(Error::file("list", directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !path.is_file() || name.parse::<SignerName>().is_err() {
            continue;
        }
        let pem = fs::read(&path).map_err(Error::file("read", &path))?;
        if let Ok(key) = VerifyingKey::from_pem(&String::from_utf8_lossy(&pem)) {
            keys.insert(name, key);
        }
    }
    Ok(keys)
}

impl WriteText for Inspected {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{HEADING}{}{HEADING:#}: {} bytes", self.file.display(), self.size)?;
        writeln!(out, "\n{HEADING}sections{HEADING:#}")?;
        for section in &self.sections {
            section.write_text(out)?;
        }
        writeln!(out, "\n{HEADING}signatures{HEADING:#}")?;
        for signature in &self.signatures {
            signature.write_text(out)?;
        }
        for (heading, text) in [(".PKGINFO", &self.info), ("index entry", &self.entry)] {
            writeln!(out, "\n{HEADING}{heading}{HEADING:#}")?;
            for line in text.iter().flat_map(|text| text.trim_end().lines()) {
                writeln!(out, "  {}", escaped(line))?;
            }
        }
        writeln!(out, "\n{HEADING}rules that it breaks{HEADING:#}")?;
        if self.broken_rules.is_empty() {
            writeln!(out, "  {GOOD}none{GOOD:#}")?;
        }
        for BrokenRule { rule, remedy } in &self.broken_rules {
            writeln!(out, "  {BAD}{}.{BAD:#} {}", escaped(rule), escaped(remedy))?;
        }
        if !self.warnings.is_empty() {
            writeln!(out, "\n{HEADING}warnings{HEADING:#}")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(out, "  {warning}"))
    }
}

impl Section {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let name = match self.kind {
            sections::Kind::Signatures => "signatures",
            sections::Kind::Control => "control",
            sections::Kind::Data => "data",
        };
        let Self { size, inflated, entries, .. } = self;
        let line = format!("  {name:<10} {size:>10} bytes, inflated {inflated:>10}  ");
        writeln!(out, "{}", format!("{line}{}", entries.join(" ")).trim_end())
    }
}

impl SignatureSeen {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let key_name = escaped(self.key_name.as_str());
        write!(out, "  {:<6} by {key_name}: ", self.algorithm)?;
        match self.verdict {
            Verdict::Right => writeln!(out, "{GOOD}right{GOOD:#}"),
            Verdict::Wrong => writeln!(out, "{BAD}wrong{BAD:#}"),
            Verdict::Unknown => writeln!(out, "not checked: --keys-dir has no key of this name"),
        }
    }
}
