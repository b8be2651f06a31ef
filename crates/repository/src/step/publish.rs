use std::iter;

use alpinist_apk::{
    adb::signature::PayloadDigest, block::Block, entry::IndexEntry, index_archive,
    key::VerifyingKey, key_name::KeyName,
};
use futures::{
    TryFutureExt as _,
    future::{try_join, try_join_all, try_join3},
};
use rand_core::CryptoRngCore;
use tracing::debug;

use crate::{
    failure::Failure,
    location::{RepositoryPrefix, Subject},
    message::{PublishRequest, Published, PublishedIndex, Staged},
    page,
    port::{self, Attributes, ETag, KeyStore, NewObject, ObjectStore, Precondition, StoreError},
    signer::Signer,
    snapshot::{self, Header, Snapshot},
    step::{
        DIGEST, LISTED, adb,
        trusted_blocks::{signed_blocks, trusted_blocks, trusted_entries},
    },
    trust::MAX_KEY_LENGTH,
};

/// Signs the staged index and publishes it, if the published index is still the one that it is to
/// replace.
///
/// The index is built here, from strictly parsed entries, and is read and verified as a client
/// would before it is published. Public keys that are missing are published first. While there are
/// two keys, both sign: a client needs one of them. Before the first index of a directory, and with
/// a new key, the list for the page is extended, if there is one.
///
/// # Errors
///
/// [`Failure::Store`] with a conflict, if somebody else published or changed anything meanwhile;
/// [`Failure::Key`] and similar, if a signing key is missing or unusable. A failure before the
/// publication leaves the old index. [`Failure::PackageRejected`], after the publication, if the
/// request says that the package was rejected.
pub async fn publish<S: ObjectStore>(
    store: &S,
    keys: &impl KeyStore,
    random: &mut impl CryptoRngCore,
    request: PublishRequest,
) -> Result<Published, Failure> {
    let PublishRequest { written, staged } = request;
    let subject = written.target.key.parse::<Subject>().map_err(|_| Failure::InvalidInput)?;
    let prefix = subject.prefix();
    let signers = Signer::read_all(keys).await?;
    let (staged_snapshot, signed, missing) = try_join3(
        read_staged(store, prefix, &staged),
        signed_blocks(store, prefix, &signers).map_err(Failure::from),
        try_join_all(
            signers.iter().map(|signer| MissingKey::find(store, &signer.name, &signer.public)),
        ),
    )
    .await?;
    let (header, snapshot) = staged_snapshot;
    let damaged = |source| Failure::StagedDamaged { key: prefix.snapshot_key(), source };
    let blocks = trusted_blocks(prefix, &snapshot, &signed).map_err(damaged)?;
    drop(signed);
    let mut outputs = Vec::new();
    if let (Some(digest), Some(adb)) = (&header.adb, &staged.adb) {
        let entries = trusted_entries(prefix, &snapshot).map_err(damaged)?;
        let objects = sign_adb(prefix, &entries, keys, &signers, random).await?;
        let replaced = adb.replaces.iter().cloned().chain(iter::repeat(None));
        for ((key, bytes, content_type), replaces) in objects.into_iter().zip(replaced) {
            outputs.push(Output::new(key, bytes, content_type, digest, &header, replaces));
        }
        // Whoever finds a package in `Packages.adb` finds it in the other two as well.
        outputs.rotate_left(1);
    }
    let lists_v2 = snapshot.v2_len() > 0 || staged.replaces.is_some();
    if lists_v2 {
        let (key, replaces) = (prefix.index_key(), staged.replaces.clone());
        let signed = sign(prefix, &blocks, keys, &signers, random).await?;
        let gzip = "application/gzip";
        outputs.push(Output::new(key, signed, gzip, &header.digest, &header, replaces));
    }
    drop((snapshot, blocks));
    if staged.is_too_soon {
        store.wait_a_second().await;
    }
    let missing: Vec<_> = missing.into_iter().flatten().collect();
    let is_news = staged.is_first || !missing.is_empty();
    try_join_all(missing.into_iter().map(|key| key.put(store))).await?;
    // Before the index: whoever dies in between leaves a name too many, never one too few.
    if is_news {
        page::announce(store, prefix, signers.iter().map(|signer| &signer.name)).await?;
    }
    let (key, etag) = replace(store, prefix, outputs, &staged.snapshot, lists_v2).await?;
    let index = PublishedIndex { key, etag, packages: header.packages };
    match written.rejection {
        Some(rejection) => Err(Failure::PackageRejected { cause: rejection.cause, index }),
        None => Ok(Published { written, index }),
    }
}

/// Reads the staged snapshot, if no other one has replaced it.
async fn read_staged<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    staged: &Staged,
) -> Result<(Header, Snapshot), Failure> {
    let key = prefix.snapshot_key();
    let stored = port::read(store, &key, snapshot::MAX_STORED).await?;
    let Some(stored) = stored.filter(|stored| stored.info.etag == staged.snapshot) else {
        return Err(StoreError::Conflict { key }.into());
    };
    let read = Snapshot::read(&stored.body.into());
    read.map_err(|source| Failure::StagedDamaged { key, source })
}

/// Builds and signs `APKINDEX.tar.gz`, and checks it.
async fn sign(
    prefix: &RepositoryPrefix,
    blocks: &[Block],
    keys: &impl KeyStore,
    signers: &[Signer],
    random: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, Failure> {
    let failed = |source| Failure::Archive { prefix: prefix.to_string(), source };
    let description = prefix.repository();
    let (rsa, others): (Vec<_>, Vec<_>) =
        signers.iter().partition(|signer| signer.public.kind().signs_v2());
    if rsa.is_empty() {
        let key_names = others.iter().map(|signer| signer.name.to_string()).collect();
        return Err(Failure::NoRsaKey { prefix: prefix.to_string(), key_names });
    }
    let unsigned = index_archive::write_blocks(description, blocks).map_err(failed)?;
    let mut signatures = Vec::new();
    for signer in &rsa {
        signatures.extend(signer.sign(keys, &unsigned, random).await?);
    }
    let public = rsa.iter().map(|signer| (&signer.name, &signer.public));
    index_archive::seal(description, blocks, &unsigned, &signatures, public).map_err(failed)
}

/// Builds, signs and checks what is published for format v3: for each of
/// [`RepositoryPrefix::adb_keys`] the key, the bytes and their type.
async fn sign_adb(
    prefix: &RepositoryPrefix,
    entries: &[IndexEntry],
    keys: &impl KeyStore,
    signers: &[Signer],
    random: &mut impl CryptoRngCore,
) -> Result<[(String, Vec<u8>, &'static str); 3], Failure> {
    let failed = |source| Failure::Adb { prefix: prefix.to_string(), source: Box::new(source) };
    let packages = adb::entries(prefix, entries);
    let payload = packages.payload().map_err(failed)?;
    let digest = PayloadDigest::of(&payload);
    let mut signatures = Vec::new();
    for signer in signers {
        signatures.push(signer.sign_adb(keys, &digest, random).await?);
    }
    let public = signers.iter().map(|signer| &signer.public);
    let index = packages.seal(&payload, &signatures, public).map_err(failed)?;
    let json = adb::index_json(prefix, &packages);
    let [index_key, alias, json_key] = prefix.adb_keys();
    let binary = "application/octet-stream";
    Ok([
        (index_key, index.clone(), binary),
        (alias, index, binary),
        (json_key, json, "application/json"),
    ])
}

/// Publishes a public key under its name, unless it already is. A different key under this name is
/// not replaced: clients have it, and would reject every index signed with the new one.
///
/// # Errors
///
/// [`Failure::KeyNameTaken`], if a different key has this name; [`Failure::PublicKey`];
/// [`Failure::Store`].
pub async fn publish_key<S: ObjectStore>(
    store: &S,
    name: &KeyName,
    public: &VerifyingKey,
) -> Result<(), Failure> {
    match MissingKey::find(store, name, public).await? {
        Some(missing) => missing.put(store).await,
        None => Ok(()),
    }
}

/// A public key that is not published, or is damaged there.
struct MissingKey {
    name: String,
    pem: String,
    still: Precondition,
}

impl MissingKey {
    /// Returns the key if it is to be published.
    async fn find<S: ObjectStore>(
        store: &S,
        name: &KeyName,
        public: &VerifyingKey,
    ) -> Result<Option<Self>, Failure> {
        let name = name.to_string();
        let present = port::read(store, &name, MAX_KEY_LENGTH).await?;
        let still = Precondition::still(present.as_ref().map(|object| object.info.etag.clone()));
        let present = present.map(|object| String::from_utf8_lossy(&object.body).into_owned());
        match present.map(|pem| VerifyingKey::from_pem(&pem)) {
            Some(Ok(present)) if present == *public => return Ok(None),
            Some(Ok(_)) => return Err(Failure::KeyNameTaken { key_name: name }),
            Some(Err(_)) | None => {}
        }
        let pem = public.to_pem();
        let pem = pem.map_err(|source| Failure::PublicKey { key_name: name.clone(), source })?;
        Ok(Some(Self { name, pem, still }))
    }

    async fn put<S: ObjectStore>(self, store: &S) -> Result<(), Failure> {
        let Self { name, pem, still } = self;
        let object = NewObject {
            bytes: pem.into_bytes(),
            content_type: "application/x-pem-file",
            attributes: Attributes::new(),
        };
        store.put(&name, object, still).await?;
        debug!(key_name = name, "public key published");
        Ok(())
    }
}

/// An object to publish.
struct Output {
    key: String,
    object: NewObject,
    still: Precondition,
}

impl Output {
    /// Makes the object of what is signed of a snapshot.
    fn new(
        key: String,
        bytes: Vec<u8>,
        content_type: &'static str,
        digest: &str,
        Header { listed, .. }: &Header,
        replaces: Option<ETag>,
    ) -> Self {
        let attributes = Attributes::from([
            (DIGEST.to_owned(), digest.to_owned()),
            (LISTED.to_owned(), listed.to_string()),
        ]);
        let object = NewObject { bytes, content_type, attributes };
        Self { key, object, still: Precondition::still(replaces) }
    }
}

/// Replaces what is published, then checks that the snapshot is still the one that was signed: an
/// execution that replaced it listed the bucket after us, and may have found nothing to publish.
/// Each object is whole by itself; if the function dies between two of them, the next execution
/// finds that. If there is no v2 package, and was no index of them, nobody else must have published
/// one meanwhile. Returns the last object.
async fn replace<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    outputs: Vec<Output>,
    snapshot: &ETag,
    lists_v2: bool,
) -> Result<(String, ETag), Failure> {
    let snapshot_key = prefix.snapshot_key();
    let mut last = None;
    for Output { key, object, still } in outputs {
        let etag = store.put(&key, object, still).await?;
        last = Some((key, etag));
    }
    let index_key = prefix.index_key();
    let index = async { if lists_v2 { Ok(None) } else { store.head(&index_key).await } };
    let (present, index) = try_join(store.head(&snapshot_key), index).await?;
    if index.is_some() {
        return Err(StoreError::Conflict { key: index_key }.into());
    }
    match last.filter(|_| present.is_some_and(|present| present.etag == *snapshot)) {
        Some(last) => Ok(last),
        None => Err(StoreError::Conflict { key: snapshot_key }.into()),
    }
}
