//! Why a package may not be listed, and what its uploader can do about it.

use alpinist_apk::{
    entry::EntryError,
    key_name::KeyName,
    key_name::SignerName,
    package::{self, PackageError, TarError},
    package_info::PackageInfoError,
    text::Excerpt,
    value::Architecture,
};

use crate::{
    location::PackageKeyError,
    panic::{self, Panic},
};

/// Why a package is rejected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Its key is outside the bucket's layout.
    #[error(transparent)]
    Key(#[from] PackageKeyError),
    /// It is larger than the operator wants packages to be.
    #[error("it has {size} bytes, more than the {max} that a package may have here")]
    Size {
        /// Its size in bytes.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// Nobody can read it.
    #[error("it is archived, in a storage class from which no client could fetch it")]
    Archived,
    /// The file is not a package that a client could install.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Its file name is not what clients will ask for.
    #[error(
        "its file name is `{found}.apk`, but clients will ask for `{expected}.apk`, since .PKGINFO says so"
    )]
    FileName {
        /// The file name without `.apk`.
        found: Excerpt,
        /// `<pkgname>-<pkgver>`
        expected: String,
    },
    /// It was built for another architecture than its directory's.
    #[error("it was built for {package}, but lies in the directory of {directory}")]
    Architecture {
        /// What `.PKGINFO` says.
        package: Architecture,
        /// What the key says.
        directory: Architecture,
    },
    /// It was built for an architecture that apk calls otherwise, so that no client asks for it.
    #[error("it was built for `{package}`, which apk calls {names}")]
    ForeignArchitecture {
        /// What `.PKGINFO` says.
        package: Architecture,
        /// What apk calls it: a name, or several with `or`.
        names: &'static str,
    },
    /// It is for any architecture, and its directory is called as none.
    #[error(
        "it is for any architecture, but no client is of the architecture `{directory}` of its directory"
    )]
    UnknownDirectory {
        /// What the key says.
        directory: Architecture,
    },
    /// A trusted key is said to have signed it, and has not.
    #[error("its signature by {key_name} is wrong: it was not made with that key for this package")]
    Signature {
        /// The name of the key.
        key_name: SignerName,
    },
    /// No trusted key is said to have signed it, which `PackageSignatures` requires.
    #[error("it is not signed by a trusted key, but by {}", listed(.by))]
    NotSigned {
        /// The names of the keys that are said to have signed it.
        by: Vec<KeyName>,
    },
    /// Its entry would harm the index.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Nobody knows whether it is in order, since the function panics over it.
    #[error(transparent)]
    Bug(#[from] Panic),
}

impl Rejection {
    /// Returns the name of the rule that the package breaks, for whoever counts.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Key(_) => "Key",
            Self::Size { .. } => "Size",
            Self::Archived => "Archived",
            Self::Package(PackageError::FormatV3) => "FormatV3",
            Self::Package(_) => "Package",
            Self::FileName { .. } => "FileName",
            Self::Architecture { .. }
            | Self::ForeignArchitecture { .. }
            | Self::UnknownDirectory { .. } => "Architecture",
            Self::Signature { .. } => "Signature",
            Self::NotSigned { .. } => "NotSigned",
            Self::Entry(_) => "Entry",
            Self::Bug(_) => "Bug",
        }
    }

    /// Says what to do: whole sentences.
    pub fn remedy(&self) -> String {
        match self {
            Self::Key(PackageKeyError::Foreign { names, .. }) => {
                format!("Upload it to the directory of {names}, and delete this object.")
            }
            Self::Key(_) => "Upload it as <repository>/<architecture>/<pkgname>-<pkgver>.apk, such as \
                             3.22/main/x86_64/hello-1.0-r0.apk."
                .to_owned(),
            Self::ForeignArchitecture { names, .. } => format!(
                "Build it for {names}: say so in the packager's configuration (`arch` of nfpm.yaml), or \
                 use a newer packager."
            ),
            Self::Size { max: package::MAX_SIZE.., .. } => SPLIT.to_owned(),
            Self::Size { .. } => {
                "Split it, or deploy the stack with a greater MaxPackageMiB, then start an execution for \
                 the package."
                    .to_owned()
            }
            Self::Archived => "Upload it again, in the storage class STANDARD.".to_owned(),
            Self::FileName { expected, .. } => {
                format!("Upload it as {expected}.apk, and delete this object.")
            }
            Self::Architecture { package, .. } => {
                format!("Upload it to the directory of {package}, and delete this object.")
            }
            Self::UnknownDirectory { .. } => {
                "Upload it to a directory such as 3.22/main/x86_64/, for each architecture of your clients, and delete \
                 this object."
                    .to_owned()
            }
            Self::Signature { .. } => {
                "Sign it anew with that key. If it had been, it was changed since: find out by whom."
                    .to_owned()
            }
            Self::NotSigned { .. } => {
                "Sign it with a trusted key, or trust that of its signer: put the public key under its \
                 name into .alpinist/trusted-keys/, then start an execution for the package."
                    .to_owned()
            }
            Self::Entry(_) => "Shorten its description or its lists of dependencies.".to_owned(),
            Self::Bug(_) => panic::REMEDY.to_owned(),
            Self::Package(error) => package_remedy(error).to_owned(),
        }
    }
}

/// What to do about a package that is too large everywhere.
const SPLIT: &str = "Split it.";

fn listed(names: &[KeyName]) -> String {
    match names {
        [] => "nobody".to_owned(),
        names => names.iter().map(KeyName::as_str).collect::<Vec<_>>().join(", "),
    }
}

fn package_remedy(error: &PackageError) -> &'static str {
    match error {
        PackageError::FormatV3 => "Build it in format v2, the default of abuild, melange and nfpm.",
        PackageError::IsAnIndex => {
            "Upload packages only: Alpinist makes the index, under APKINDEX.tar.gz."
        }
        PackageError::NotAPackage => "Upload an .apk that was built by abuild, melange or nfpm.",
        PackageError::Empty
        | PackageError::Damaged { .. }
        | PackageError::Truncated { .. }
        | PackageError::AfterData => {
            "Upload it again; if it is rejected again, the file itself is damaged: build it anew."
        }
        PackageError::Size => SPLIT,
        PackageError::PackageInfo(PackageInfoError::Missing { key: "datahash" }) => {
            "Build it with abuild, melange or nfpm: fpm, which electron-builder runs, writes none."
        }
        PackageError::PackageInfo(
            PackageInfoError::ProvidesItself { .. } | PackageInfoError::ProvidesTwice { .. },
        ) => "Delete that line from the packager's configuration, and build the package anew.",
        PackageError::PackageInfo(PackageInfoError::Dependency { .. }) => {
            "Write it as apk does, such as `bash>=4.4`, without blanks, brackets and commas, and build the package anew."
        }
        PackageError::PackageInfo(_) => "Fix what the package says of itself, and build it anew.",
        PackageError::Tar { source: TarError::Number { .. }, .. } => {
            "Build it anew with a newer packager: nfpm up to 2.47.0 writes such numbers for `type: tree`."
        }
        PackageError::Contents(_) => {
            "Build it anew with a current abuild, melange or nfpm: a tar that something else made lacks what apk \
             needs to install it."
        }
        _ => {
            "Build it anew, with a current abuild, melange or nfpm, without changing the file \
              afterwards; `apk verify FILE` tells whether apk accepts it."
        }
    }
}
