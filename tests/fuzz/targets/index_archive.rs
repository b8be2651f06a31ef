//! `APKINDEX.tar.gz`: after a byte 0 as it is, and after any other byte in correct wrapping.

#![no_main]

use alpinist_apk::{
    index_archive::{IndexArchive, write_signed, write_unsigned},
    signature::{Signature, SignatureName},
};
use alpinist_samples::{
    gzip::gzip_at,
    tar::{entry_of, fixed},
};
use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Wrapped<'a> {
    signature_name: &'a str,
    signature_length: u16,
    zero_blocks: u8,
    description: &'a [u8],
    patches: Vec<(bool, u16, u8)>,
    index: &'a [u8],
}

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        None => {}
        Some((0, archive)) => check(archive),
        Some((_, bytes)) => {
            if let Ok(wrapped) = Wrapped::arbitrary_take_rest(Unstructured::new(bytes)) {
                check(&wrapped.build());
            }
        }
    }
});

impl Wrapped<'_> {
    fn build(&self) -> Vec<u8> {
        let name = format!(".SIGN.{}", self.signature_name);
        let signature = vec![9; usize::from(self.signature_length)];
        let mut signatures = entry_of(b'0', &name, &signature);
        signatures.resize(signatures.len() + usize::from(self.zero_blocks % 3) * 512, 0);
        let mut content = entry_of(b'0', "DESCRIPTION", self.description);
        content.extend(entry_of(b'0', "APKINDEX", self.index));
        content.resize(content.len() + 1024, 0);
        for &(is_signature, position, byte) in &self.patches {
            let tar = if is_signature { &mut signatures } else { &mut content };
            if let Some(place) = tar.get_mut(usize::from(position)) {
                *place = byte;
            }
        }
        [gzip_at(fixed(signatures), 1), gzip_at(fixed(content), 1)].concat()
    }
}

/// Checks that what was read can be written, and is then read as the same.
fn check(bytes: &[u8]) {
    let Ok(read) = IndexArchive::read(bytes) else { return };
    let unsigned = write_unsigned(&read.description, &read.index).expect("memory takes it");
    let mut signatures = read.signatures;
    // The signatures that we write are by keys with our names.
    signatures.retain(|(name, _)| name.key_name.to_key_name().is_some());
    // Signatures of unknown kinds are not kept, and an archive must have one.
    let name = SignatureName::parse(b".SIGN.RSA.fuzz.rsa.pub").expect("a name");
    signatures.push((name, Signature::from(vec![1; 256])));
    let written = write_signed(&signatures, &unsigned).expect("memory takes it");
    let again = IndexArchive::read(&written).expect("ours is read");
    assert_eq!(again.unsigned, unsigned);
    assert_eq!(again.description, read.description);
    assert_eq!(again.index, read.index);
    assert_eq!(again.signatures, signatures);
}
