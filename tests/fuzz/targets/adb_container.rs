//! ADB files as streams of blocks: a byte that determines the form, four that determine the chunks,
//! and the blocks.

#![no_main]

use alpinist_apk::adb::container::{
    ContainerError, ContainerReader, MAX_SIGNATURES, MIN_PAYLOAD, Piece, Schema,
};
use alpinist_fuzz::check;
use alpinist_samples::adb_package::{block, deflate, stream};
use libfuzzer_sys::fuzz_target;

/// The maximum length of an ADB payload here: longer ones are as good.
const MAX_PAYLOAD: u64 = 4096;

/// What is in a file.
#[derive(Debug, Default, Eq, PartialEq)]
struct Content {
    payload: Vec<u8>,
    signatures: Vec<Vec<u8>>,
    /// Directory, file and content of each DATA block, and the length that was announced.
    data: Vec<(u32, u32, Vec<u8>, u64)>,
}

fuzz_target!(|bytes: &[u8]| {
    let Some(([form, sizes @ ..], bytes)) = bytes.split_first_chunk::<5>() else { return };
    let file = match form % 4 {
        0 => bytes.to_vec(),
        form => stored(form, &[b"ADB.", bytes].concat()),
    };
    for schema in [Schema::Package, Schema::Index] {
        let piecemeal = read(schema, check::chunks(&file, *sizes));
        let at_once = read(schema, [&*file].into_iter());
        assert_eq!(piecemeal.as_ref().ok(), at_once.as_ref().ok());
        if let Ok(content) = at_once {
            check_content(schema, form % 4, &content);
        }
    }
});

fn read<'a>(
    schema: Schema,
    mut chunks: impl Iterator<Item = &'a [u8]>,
) -> Result<Content, ContainerError> {
    let mut reader = ContainerReader::new(schema, MAX_PAYLOAD);
    let mut content = Content::default();
    chunks.try_for_each(|chunk| {
        reader.push(chunk, |piece| {
            content.take(piece);
            Ok::<_, ContainerError>(())
        })
    })?;
    reader.finish()?;
    Ok(content)
}

impl Content {
    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Payload(payload) => {
                assert!(self.payload.is_empty() && self.signatures.is_empty());
                assert!(self.data.is_empty());
                self.payload = payload;
            }
            Piece::Signature(signature) => {
                assert!(self.data.is_empty());
                self.signatures.push(signature.to_vec());
            }
            Piece::Data { path, file, length } => self.data.push((path, file, vec![], length)),
            Piece::Content(bytes) => {
                assert!(!bytes.is_empty());
                let (_, _, content, _) = self.data.last_mut().expect("it has begun");
                content.extend_from_slice(bytes);
            }
            _ => unreachable!("no other piece is known"),
        }
    }
}

/// Returns a file with this stream of blocks.
fn stored(form: u8, stream: &[u8]) -> Vec<u8> {
    match form {
        1 => stream.to_vec(),
        2 => [b"ADBd", &*deflate(stream)].concat(),
        _ => [b"ADBc\0\x01", stream].concat(),
    }
}

/// Checks the limits, and that the same content in new blocks is read as it is.
fn check_content(schema: Schema, form: u8, content: &Content) {
    let Content { payload, signatures, data } = content;
    assert!((MIN_PAYLOAD..=MAX_PAYLOAD).contains(&(payload.len() as u64)));
    assert!(signatures.len() <= MAX_SIGNATURES);
    assert!(data.iter().all(|(_, _, content, length)| content.len() as u64 == *length));
    let mut blocks = vec![block(0, payload)];
    blocks.extend(signatures.iter().map(|signature| block(1, signature)));
    blocks.extend(data.iter().map(|(path, file, content, _)| {
        block(2, &[&path.to_le_bytes(), &file.to_le_bytes(), &**content].concat())
    }));
    let file = stored(form, &stream(&schema.bytes(), &blocks));
    assert_eq!(read(schema, [&*file].into_iter()).as_ref(), Ok(content));
}
