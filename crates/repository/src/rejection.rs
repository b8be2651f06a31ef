//! Why a package may not be listed, and what its uploader can do about it.

use std::borrow::Cow;

use alpinist_apk::{
    adb::container::ContainerError,
    checksum::Identity,
    entry::EntryError,
    key_name::SignerName,
    package::{self, AdbError, PackageError, TarError},
    package_info::PackageInfoError,
    text::Excerpt,
    value::Architecture,
};

use crate::{
    advised,
    location::PackageKeyError,
    panic::{self, Panic},
};

advised! {
    /// Why a package is rejected.
    #[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
    #[non_exhaustive]
    pub enum Rejection {
        /// Its key is outside the bucket's layout.
        #[error(transparent)]
        Key(#[from] error: PackageKeyError) => match error {
            PackageKeyError::Foreign { names, .. } => Advice::new(
                "Key",
                format!("Upload it to the directory of {names}, and delete this object."),
            ),
            PackageKeyError::Noarch => Advice::new(
                "Key",
                "Upload it to the directory of each architecture of your clients, as `alpinist \
                 push` does, and delete this object.",
            ),
            _ => Advice::new(
                "Key",
                "Upload it as <repository>/<architecture>/<pkgname>-<pkgver>.apk, such as \
                 3.22/main/x86_64/hello-1.0-r0.apk.",
            ),
        },
        /// It is larger than the operator allows.
        #[error("it has {size} bytes, more than the {max} that a package may have here")]
        Size {
            /// Its size in bytes.
            size: u64,
            /// The limit.
            max: u64,
        } => Advice::new("Size", match *max {
            package::MAX_SIZE.. => SPLIT,
            _ => "Split it, or deploy the stack with a greater MaxPackageMiB, then start an \
                  execution for the package.",
        }),
        /// It is archived, so nobody can read it.
        #[error("it is archived, in a storage class from which no client could fetch it")]
        Archived => Advice::new("Archived", "Upload it again, in the storage class STANDARD."),
        /// The file is not a package that a client could install.
        #[error(transparent)]
        Package(#[from] error: PackageError) => package_advice(error),
        /// Its file name is not what clients will ask for.
        #[error(
            "its file name is `{found}.apk`, but clients will ask for `{expected}.apk`, since \
             the package says so"
        )]
        FileName {
            /// The file name without `.apk`.
            found: Excerpt,
            /// `<pkgname>-<pkgver>`
            expected: String,
        } => Advice::new(
            "FileName",
            format!("Upload it as {expected}.apk, and delete this object."),
        ),
        /// It was built for another architecture than that of its directory.
        #[error("it was built for {package}, but is in the directory of {directory}")]
        Architecture {
            /// What `.PKGINFO` says.
            package: Architecture,
            /// What the key says.
            directory: Architecture,
        } => Advice::new(
            "Architecture",
            format!("Upload it to the directory of {package}, and delete this object."),
        ),
        /// It was built for an architecture that apk calls something else, so no client asks for
        /// it.
        #[error("it was built for `{package}`, which apk calls {names}")]
        ForeignArchitecture {
            /// What `.PKGINFO` says.
            package: Architecture,
            /// What apk calls it: a name, or several with `or`.
            names: &'static str,
        } => Advice::new(
            "Architecture",
            format!(
                "Build it for {names}: set that in the packager's configuration (`arch` of \
                 nfpm.yaml), or use a newer packager."
            ),
        ),
        /// It is for any architecture, and no client has the architecture of its directory.
        #[error(
            "it is for any architecture, but no client has the architecture `{directory}` of its \
             directory"
        )]
        UnknownDirectory {
            /// What the key says.
            directory: Architecture,
        } => Advice::new(
            "Architecture",
            "Upload it to a directory such as 3.22/main/x86_64/, for each architecture of your \
             clients, and delete this object.",
        ),
        /// It claims to be signed by a trusted key, but the signature is wrong.
        #[error(
            "its signature by {key_name} is wrong: it was not made with that key for this package"
        )]
        Signature {
            /// The name of the key.
            key_name: SignerName,
        } => Advice::new(
            "Signature",
            "Sign it again with that key. If it already was, somebody has changed it since: find \
             out who.",
        ),
        /// It does not claim to be signed by a trusted key, which `PackageSignatures` requires.
        #[error("it is not signed by a trusted key, but by {}", listed(.by))]
        NotSigned {
            /// The keys that it claims to be signed by: their names or, in a v3 package, their IDs.
            by: Vec<String>,
        } => Advice::new(
            "NotSigned",
            "Sign it with a trusted key, or trust its signer's: store the public key in \
             .alpinist/trusted-keys/, under its name or, for a package of format v3, under any \
             that ends in .pub or .pem, then start an execution for the package.",
        ),
        /// It has another checksum than the package that was published under its name.
        #[error(
            "its checksum is {found}, but a package with the checksum {published} was published \
             under this name, and `Replacing` is `refused`"
        )]
        Replaced {
            /// What clients and indexes know.
            published: Identity,
            /// The checksum of the package that is there now.
            found: Identity,
        } => Advice::new(
            "Replaced",
            "Publish it as a new version: raise pkgrel, rebuild, upload, and upload the package \
             that was published once more under this name. To give up what was published, delete \
             the object, wait until the index no longer lists it, and upload again.",
        ),
        /// It is withdrawn.
        #[error("it is withdrawn{}", because(.reason))]
        Withdrawn {
            /// Why, in one line; empty if nobody said.
            reason: String,
        } => Advice::new(
            "Withdrawn",
            "Publish a new version: raise pkgrel, rebuild and upload. Or list this one again with \
             `alpinist restore`, or by deleting the object beside it that is called like it, with \
             .withdrawn instead of .apk.",
        ),
        /// Its entry would harm the index.
        #[error(transparent)]
        Entry(#[from] error: EntryError) => Advice::new(
            "Entry",
            "Shorten its description or its lists of dependencies.",
        ),
        /// The function panics while it examines the package, so nobody knows whether it is valid.
        #[error(transparent)]
        Bug(#[from] error: Panic) => Advice::new("Bug", panic::REMEDY),
    }

    /// Returns the rule that the package breaks, and what to do.
    fn advice(&self) -> Advice;
}

impl Rejection {
    /// Returns the name of the rule that the package breaks, for metrics.
    pub fn rule(&self) -> &'static str {
        self.advice().rule
    }

    /// Returns what to do, in whole sentences.
    pub fn remedy(&self) -> String {
        self.advice().remedy.into_owned()
    }
}

/// The rule that a package breaks, and what to do about it.
struct Advice {
    rule: &'static str,
    /// What to do: whole sentences.
    remedy: Cow<'static, str>,
}

impl Advice {
    fn new(rule: &'static str, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { rule, remedy: remedy.into() }
    }
}

/// What to do about a package that is too large for any repository.
const SPLIT: &str = "Split it.";

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        names => names.join(", "),
    }
}

/// Returns the rule and the remedy for a file that no client could install. Its error comes from a
/// library that knows nothing about uploads, so the remedy is not beside the message.
fn package_advice(error: &PackageError) -> Advice {
    Advice::new("Package", package_remedy(error))
}

fn package_remedy(error: &PackageError) -> &'static str {
    match error {
        PackageError::IsAnIndex => {
            "Upload only packages: Alpinist writes the index APKINDEX.tar.gz itself."
        }
        PackageError::NotAPackage => {
            "Upload an .apk that was built by abuild, melange, nfpm or `apk mkpkg`."
        }
        PackageError::Empty
        | PackageError::Damaged { .. }
        | PackageError::Truncated { .. }
        | PackageError::AfterData
        | PackageError::Adb(AdbError::Container(
            ContainerError::Damaged | ContainerError::Truncated { .. } | ContainerError::AfterEnd,
        )) => "Upload it again; if it is rejected again, the file itself is damaged: rebuild it.",
        PackageError::Adb(error) => adb_remedy(error),
        PackageError::Size => SPLIT,
        PackageError::PackageInfo(error) => package_info_remedy(error),
        PackageError::Tar { source: TarError::Number { .. }, .. } => {
            "Rebuild it with a newer packager: nfpm up to 2.47.0 writes such numbers for `type: tree`."
        }
        PackageError::Contents(_) => {
            "Rebuild it with a current abuild, melange or nfpm: a tar made by another program \
             lacks what apk needs to install it."
        }
        _ => {
            "Rebuild it with a current abuild, melange or nfpm, without changing the file \
             afterwards; `apk verify FILE` tells whether apk accepts it."
        }
    }
}

fn adb_remedy(error: &AdbError) -> &'static str {
    match error {
        AdbError::Container(ContainerError::Schema { .. }) => {
            "Upload only packages: Alpinist writes indexes itself."
        }
        AdbError::Container(ContainerError::Zstd | ContainerError::Algorithm { .. }) => {
            "Build it with `apk mkpkg --compression deflate`, its default."
        }
        AdbError::Info(_) | AdbError::Itself(_) | AdbError::Trigger(_) | AdbError::Triggers => {
            "Fix what is given to `apk mkpkg` with --info and --trigger, or the package's Makefile, \
             and rebuild the package."
        }
        AdbError::Length | AdbError::Entries => SPLIT,
        _ => {
            "Rebuild it with `apk mkpkg` of apk-tools 3, as OpenWrt's build system does, without \
             changing the file afterwards; `apk verify FILE` tells whether apk accepts it."
        }
    }
}

fn package_info_remedy(error: &PackageInfoError) -> &'static str {
    match error {
        PackageInfoError::Missing { key: "datahash" } => {
            "Rebuild it with abuild, melange or nfpm: fpm, which electron-builder runs, writes none."
        }
        PackageInfoError::ProvidesItself { .. } | PackageInfoError::ProvidesTwice { .. } => {
            "Delete that line from the packager's configuration, and rebuild the package."
        }
        PackageInfoError::Dependency { .. } => {
            "Write it as apk does, such as `bash>=4.4`, without blanks, brackets and commas, and \
             rebuild the package."
        }
        _ => "Fix what .PKGINFO says, and rebuild the package.",
    }
}
