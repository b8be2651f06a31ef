//! How much a package may have.

/// The maximum size of a package in bytes: what S3 accepts in a single upload.
pub const MAX_SIZE: u64 = 5 * 1024 * 1024 * 1024;
/// The maximum size in bytes that a data section, or the files of a v3 package, may inflate to.
/// Scanning 1 GiB takes up to 2.7 s of CPU time (measured, on pax headers alone), so this bounds
/// the time that a package can cost.
pub const MAX_DATA_LENGTH: u64 = 32 * 1024 * 1024 * 1024;

/// The maximum size in bytes that a signatures or control section may inflate to. It has at most
/// seven scripts, each of [`MAX_SCRIPT_LENGTH`].
pub const MAX_CONTROL_LENGTH: u64 = 8 * 1024 * 1024;
/// The maximum number of signatures sections. One is usual; apk accepts any number.
pub const MAX_SIGNATURES_SECTIONS: usize = 16;
/// The maximum length of all signatures together in bytes. They are kept until the trusted keys are
/// known. A signature by a 4096-bit key, as abuild-keygen makes, has 512.
pub const MAX_SIGNATURES_LENGTH: usize = 1024 * 1024;
/// The maximum number of entries in a signatures or control section.
pub const MAX_CONTROL_ENTRIES: u64 = 64;
/// The maximum size of a script in bytes: apk silently drops a longer one (measured).
pub const MAX_SCRIPT_LENGTH: usize = 256 * 1024;
