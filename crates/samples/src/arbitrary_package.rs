//! Packages and tars of arbitrary content with correct checksums: a fuzzer alone rarely gets past
//! those of gzip, tar and `.PKGINFO`.

use arbitrary::{Arbitrary, Unstructured};

use crate::{
    gzip::gzip_at,
    package::data_hash,
    tar::{BLOCK, entry_of, fixed},
};

/// The record that a client requires before a file. Its value is arbitrary: only the form is
/// checked.
const CHECKSUM: &[u8] = b"68 APK-TOOLS.checksum.SHA1=0000000000000000000000000000000000000000\n";

/// The parts of a package. All zeros make one without signatures and scripts, whose `.PKGINFO` is
/// `info` and a correct `datahash`.
#[derive(Arbitrary, Debug)]
pub struct ArbitraryPackage<'a> {
    level: u8,
    signatures: Vec<Vec<SignatureEntry>>,
    scripts: Vec<Script>,
    files: Vec<File>,
    ends: Ends,
    patches: Vec<Patch>,
    info: &'a [u8],
}

/// The length of a body: up to 16 KiB, usually less.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Length(u8);

impl Length {
    fn of(self, byte: u8) -> Vec<u8> {
        vec![byte; usize::from(self.0) * usize::from(self.0) / 4]
    }
}

#[derive(Arbitrary, Debug)]
struct SignatureEntry {
    algorithm: u8,
    /// Two values make the same name: the last bit is ignored there.
    signer: u8,
    length: Length,
}

#[derive(Arbitrary, Debug)]
struct Script {
    name: u8,
    length: Length,
}

#[derive(Arbitrary, Debug)]
struct File {
    path: u8,
    long: Option<u8>,
    kind: u8,
    length: Length,
}

/// How many zero blocks too many each section ends with, modulo 4.
#[derive(Arbitrary, Debug)]
struct Ends {
    signatures: u8,
    control: u8,
    data: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Patch {
    place: Place,
    position: u16,
    byte: u8,
}

/// Where a byte is patched: in a tar, whose header checksums are corrected afterwards, or in the
/// whole file.
#[derive(Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Control,
    Data,
    Signatures,
    File,
}

impl<'a> ArbitraryPackage<'a> {
    /// Makes the parts from a fuzzer's bytes, the last of which become the `.PKGINFO`.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        Self::arbitrary_take_rest(Unstructured::new(bytes)).ok()
    }

    /// Returns the package.
    pub fn build(&self) -> Vec<u8> {
        let mut package: Vec<u8> =
            self.signatures.iter().flat_map(|entries| self.signatures(entries)).collect();
        let data = self.data();
        package.extend(self.control(&data));
        package.extend(data);
        self.patch(Place::File, &mut package);
        package
    }

    fn signatures(&self, entries: &[SignatureEntry]) -> Vec<u8> {
        let algorithms = ["RSA", "RSA256", "RSA512", "DSA", "EC"];
        let mut tar = Vec::new();
        for SignatureEntry { algorithm, signer, length } in entries {
            let algorithm = algorithms[usize::from(*algorithm) % algorithms.len()];
            let name = format!(".SIGN.{algorithm}.{}.rsa.pub", signer / 2);
            tar.extend(entry_of(b'0', name.as_bytes(), length.of(*signer)));
        }
        self.section(Place::Signatures, tar, usize::from(self.ends.signatures % 4))
    }

    fn control(&self, data: &[u8]) -> Vec<u8> {
        let names = [".post-install", ".pre-install", ".trigger", ".dummy", ".INSTALL", ".PKGINFO"];
        let info = [format!("datahash = {}\n", data_hash(data)).as_bytes(), self.info].concat();
        let mut tar = entry_of(b'0', b".PKGINFO", &info);
        for Script { name, length } in &self.scripts {
            let name = names[usize::from(*name) % names.len()];
            tar.extend(entry_of(b'0', name.as_bytes(), length.of(b'#')));
        }
        self.section(Place::Control, tar, usize::from(self.ends.control % 4))
    }

    fn data(&self) -> Vec<u8> {
        let kinds = [b'0', b'5', b'2', b'1', b'x', b'L', b'g', b'K', 0, b'7'];
        let mut tar = [entry_of(b'5', b"usr/", b""), entry_of(b'5', b"usr/share/", b"")].concat();
        for File { path, long, kind, length } in &self.files {
            let path = match long {
                Some(long) => [b"usr/", &*vec![*path; usize::from(*long)]].concat(),
                None => format!("usr/share/{path}").into_bytes(),
            };
            let kind = kinds[usize::from(*kind) % kinds.len()];
            if matches!(kind, b'0' | b'7') {
                tar.extend(entry_of(b'x', b"checksum", CHECKSUM));
            }
            tar.extend(entry_of(kind, &path, length.of(*path.last().unwrap_or(&0))));
        }
        let zero_blocks = 2 + usize::from(self.ends.data % 4);
        self.section(Place::Data, tar, zero_blocks)
    }

    fn section(&self, place: Place, mut tar: Vec<u8>, zero_blocks: usize) -> Vec<u8> {
        tar.resize(tar.len() + zero_blocks * BLOCK, 0);
        self.patch(place, &mut tar);
        gzip_at(fixed(tar), u32::from(self.level % 10))
    }

    fn patch(&self, place: Place, bytes: &mut [u8]) {
        for patch in self.patches.iter().filter(|patch| patch.place == place) {
            if let Some(byte) = bytes.get_mut(usize::from(patch.position)) {
                *byte = patch.byte;
            }
        }
    }
}
