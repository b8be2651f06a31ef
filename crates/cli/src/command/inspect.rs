use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use alpinist_apk::{
    adb::signature::AdbSignature,
    checksum::Identity,
    entry::IndexEntry,
    key::VerifyingKey,
    key_name::SignerName,
    package::{Package, PayloadSignatures, Signatures},
    package_signature::PackageSignature,
    text::{Excerpt, chain, escaped},
    value::Architecture,
};
use alpinist_repository::{
    location::PackageKey, message, port::StoreError, rejection::Rejection, step, withdrawal,
};
use clap::Args;
use serde::Serialize;

use crate::{
    context::Access,
    error::Error,
    output::{BAD, ExitStatus, GOOD, HEADING, Output, WriteText, pluralize},
    package_file,
    repository::architecture_of_clients,
    sections::{self, Format, Section},
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
/// Shows its format and its sections, its signatures and who made them, its `.PKGINFO`, and the
/// entry that it would get in an index. A package of format v3 has no `.PKGINFO`: its entry shows
/// the same, with letters for what `APKINDEX.tar.gz` lacks, such as `r:` for `replaces`. The exit
/// status is 1 if it breaks a rule, so that it would not be listed. Of an object in S3, it also
/// says whether it is withdrawn.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
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
    /// A signature of format v3 does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
    /// What the key is called. A signature of format v3 does not say it: the key that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<SignerName>,
    /// By what a signature of format v3 names its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The key is known, and made it.
    Right,
    /// The key is known, and did not make it.
    Wrong,
    /// No key with this name, or this ID, is known.
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
        let sections::Sections { format, parts: sections, info } = sections::look(source.path())?;
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
        if let Some(reason) = withdrawn(&self.file, &self.access).await? {
            broken_rules.push((&Rejection::Withdrawn { reason }).into());
        }
        let answer = if broken_rules.is_empty() { ExitStatus::Yes } else { ExitStatus::No };
        let size = metadata.len();
        let file = self.file;
        let entry = entry.as_ref().map(|entry| match entry.identity {
            Identity::Control(_) => entry.to_string(),
            Identity::Payload(_) => entry.stored().to_string(),
        });
        let inspected = Inspected {
            file,
            size,
            format,
            sections,
            signatures,
            info,
            entry,
            broken_rules,
            warnings,
        };
        output.print(&inspected)?;
        Ok(answer)
    }

    fn verify_signatures(
        &self,
        package: &Package,
        keys: &TrustedKeys,
    ) -> (Vec<SignatureSeen>, Option<IndexEntry>, Vec<BrokenRule>) {
        let signatures: Vec<_> = match &package.signatures {
            Signatures::Control(signatures) => {
                signatures.iter().map(|signature| check(signature, keys)).collect()
            }
            Signatures::Payload(all) => {
                all.iter().map(|signature| check_payload(signature, all, keys)).collect()
            }
        };
        let mut broken = Vec::new();
        // The first signature with a known key decides, as in `apk add FILE`.
        if let Some(first) = signatures.iter().find(|seen| seen.verdict != Verdict::Unknown)
            && first.verdict == Verdict::Wrong
        {
            let names = first.key_name.clone().into_iter();
            broken.extend(names.map(|key_name| (&Rejection::Signature { key_name }).into()));
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

/// Returns why a package is withdrawn, if it is an object in S3 that is.
async fn withdrawn(name: &Path, access: &Access) -> Result<Option<String>, Error> {
    let object = name.to_str().and_then(|name| name.strip_prefix("s3://"));
    let found = object.and_then(|object| object.split_once('/'));
    let Some((bucket, Ok(key))) = found.map(|(bucket, key)| (bucket, key.parse::<PackageKey>()))
    else {
        return Ok(None);
    };
    let store = access.clone().open().await.bucket(bucket);
    match withdrawal::reason(&store, &key).await {
        // Credentials that may read the package may not be allowed to read or list others.
        Err(StoreError::Denied { .. }) => Ok(None),
        reason => Ok(reason?),
    }
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
    let algorithm = Some(signature.name.algorithm.name());
    SignatureSeen { algorithm, key_name: Some(key_name), key_id: None, verdict }
}

/// Checks a signature of a v3 package, which names its key by an ID.
fn check_payload(
    signature: &AdbSignature,
    all: &PayloadSignatures,
    keys: &TrustedKeys,
) -> SignatureSeen {
    let id = signature.key_id();
    let known = keys.iter().find(|(_, key)| key.id() == id);
    let verdict = match known {
        None => Verdict::Unknown,
        Some((_, key)) if all.is_by(signature, key) => Verdict::Right,
        Some(_) => Verdict::Wrong,
    };
    let key_name = known.and_then(|(name, _)| name.parse().ok());
    SignatureSeen { algorithm: None, key_name, key_id: Some(id.to_string()), verdict }
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
        let format = match self.format {
            Some(Format::V2) => ", format v2",
            Some(Format::V3) => ", format v3",
            None => "",
        };
        let (file, size) = (self.file.display(), self.size);
        writeln!(out, "{HEADING}{file}{HEADING:#}: {size} bytes{format}")?;
        writeln!(out, "\n{HEADING}sections{HEADING:#}")?;
        for section in &self.sections {
            section.write_text(out)?;
        }
        writeln!(out, "\n{HEADING}signatures{HEADING:#}")?;
        for signature in &self.signatures {
            signature.write_text(out)?;
        }
        let texts = [(".PKGINFO", &self.info), ("index entry", &self.entry)];
        let skipped = usize::from(self.format == Some(Format::V3));
        for (heading, text) in texts.into_iter().skip(skipped) {
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
            sections::Kind::Metadata => "metadata",
            sections::Kind::Signatures => "signatures",
            sections::Kind::Control => "control",
            sections::Kind::Data => "data",
        };
        let Self { size, inflated, blocks, entries, .. } = self;
        let line = match (size, blocks) {
            (Some(size), _) => {
                let entries = entries.join(" ");
                format!("  {name:<10} {size:>10} bytes, inflated {inflated:>10}  {entries}")
            }
            (None, blocks) => {
                let blocks = pluralize(blocks.unwrap_or_default(), "block", "blocks");
                format!("  {name:<10} {inflated:>10} bytes inflated, in {blocks}")
            }
        };
        writeln!(out, "{}", line.trim_end())
    }
}

impl SignatureSeen {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let name = self.key_name.as_ref().map(|name| escaped(name.as_str()));
        match (self.algorithm, &self.key_id, name) {
            (Some(algorithm), _, name) => {
                write!(out, "  {algorithm:<6} by {}: ", name.unwrap_or_default())?;
            }
            (None, Some(id), Some(name)) => write!(out, "  by {name}, {id}: ")?,
            (None, id, _) => write!(out, "  by {}: ", id.as_deref().unwrap_or_default())?,
        }
        let known_by = if self.key_id.is_some() { "ID" } else { "name" };
        match self.verdict {
            Verdict::Right => writeln!(out, "{GOOD}right{GOOD:#}"),
            Verdict::Wrong => writeln!(out, "{BAD}wrong{BAD:#}"),
            Verdict::Unknown => {
                writeln!(out, "not checked: --keys-dir has no key of this {known_by}")
            }
        }
    }
}
