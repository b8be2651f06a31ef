//! Which slot of an object holds what, counted from 1 (apk-v3(5), `apk_adb.h` of apk-tools).
//!
//! A slot with an unknown number is ignored by clients (measured).

/// The slots of an index, the root of a file with the schema
/// [`Index`](super::container::Schema::Index).
pub mod index {
    /// A text that clients show: the index of Alpine says from which commit it is.
    pub const DESCRIPTION: usize = 1;
    /// An array of [`package_info`](super::package_info).
    pub const PACKAGES: usize = 2;
    /// How clients form the file name of a package. Alpinist writes none.
    pub const PKGNAME_SPEC: usize = 3;
}

/// The slots of a package, the root of a file with the schema
/// [`Package`](super::container::Schema::Package).
pub mod package {
    /// Its [`package_info`](super::package_info).
    pub const INFO: usize = 1;
    /// An array of [`directory`](super::directory).
    pub const PATHS: usize = 2;
    /// An object of up to [`MAX_SCRIPTS`](super::MAX_SCRIPTS) texts.
    pub const SCRIPTS: usize = 3;
    /// An array of texts: the directories whose changes run a script.
    pub const TRIGGERS: usize = 4;
    /// A number.
    pub const REPLACES_PRIORITY: usize = 5;
}

/// How many kinds of scripts there are.
pub const MAX_SCRIPTS: usize = 7;

/// The slots of a package's information, in a package and in an index.
pub mod package_info {
    /// A text.
    pub const NAME: usize = 1;
    /// A text.
    pub const VERSION: usize = 2;
    /// In an index, the identity of the package: the 32 bytes of a
    /// [`PayloadHash`](crate::checksum::PayloadHash) for a v3 package, the 20 of a
    /// [`PullChecksum`](crate::checksum::PullChecksum) for a v2 package. In a package, 20 bytes
    /// that nobody checks.
    pub const HASHES: usize = 3;
    /// A text.
    pub const DESCRIPTION: usize = 4;
    /// A text.
    pub const ARCHITECTURE: usize = 5;
    /// A text.
    pub const LICENSE: usize = 6;
    /// A text.
    pub const ORIGIN: usize = 7;
    /// A text.
    pub const MAINTAINER: usize = 8;
    /// A text.
    pub const URL: usize = 9;
    /// Bytes: 20 of a commit of git.
    pub const REPOSITORY_COMMIT: usize = 10;
    /// A number: seconds since 1970.
    pub const BUILD_TIME: usize = 11;
    /// A number of bytes.
    pub const INSTALLED_SIZE: usize = 12;
    /// A number of bytes, in an index alone.
    pub const FILE_SIZE: usize = 13;
    /// A number.
    pub const PROVIDER_PRIORITY: usize = 14;
    /// An array of [`dependency`](super::dependency).
    pub const DEPENDS: usize = 15;
    /// An array of [`dependency`](super::dependency).
    pub const PROVIDES: usize = 16;
    /// An array of [`dependency`](super::dependency).
    pub const REPLACES: usize = 17;
    /// An array of [`dependency`](super::dependency).
    pub const INSTALL_IF: usize = 18;
    /// An array of [`dependency`](super::dependency).
    pub const RECOMMENDS: usize = 19;
    /// A number.
    pub const LAYER: usize = 20;
    /// An array of texts.
    pub const TAGS: usize = 21;
}

/// The slots of a dependency.
pub mod dependency {
    /// A text.
    pub const NAME: usize = 1;
    /// A text.
    pub const VERSION: usize = 2;
    /// A number: how the version is compared. Absent for `=`.
    pub const MATCH: usize = 3;
}

/// The slots of a directory that a package installs.
pub mod directory {
    /// A text: the path from the root. Absent for the root.
    pub const NAME: usize = 1;
    /// An [`acl`](super::acl).
    pub const ACL: usize = 2;
    /// An array of [`file`](super::file).
    pub const FILES: usize = 3;
}

/// The slots of a file that a package installs.
pub mod file {
    /// A text.
    pub const NAME: usize = 1;
    /// An [`acl`](super::acl).
    pub const ACL: usize = 2;
    /// A number of bytes.
    pub const SIZE: usize = 3;
    /// A number: seconds since 1970.
    pub const MTIME: usize = 4;
    /// Bytes: the hash of the content.
    pub const HASH: usize = 5;
    /// Bytes: for anything but a regular file, two of its type, and what it points to.
    pub const TARGET: usize = 6;
}

/// The slots of who may do what with a file or a directory.
pub mod acl {
    /// A number: the bits of permission.
    pub const MODE: usize = 1;
    /// A text.
    pub const USER: usize = 2;
    /// A text.
    pub const GROUP: usize = 3;
    /// An array of bytes: name, U+0000, value.
    pub const XATTRS: usize = 4;
}
