use alpinist_apk::{
    archive::{self, IndexArchive},
    index::Index,
    key::{KeyName, SigningKey, VerifyingKey},
};
use rand_core::CryptoRngCore;
use tracing::info;

use crate::{
    failure::Failure,
    location::{RepositoryPrefix, Subject},
    message::{Aggregated, Published, PublishedIndex, Staged},
    port::{self, Attributes, ETag, KeyStore, NewObject, ObjectStore, Precondition, StoreError},
    snapshot::{self, SnapshotReader},
    step::DIGEST,
};

/// Signs the staged index and publishes it, if the published one is still the one that it was made
/// to replace.
///
/// What is signed was built here, from entries that were parsed strictly, and is read and verified
/// as a client would before it is published. The public key is published first.
///
/// # Errors
///
/// [`Failure::Store`] with a conflict, if somebody else published or changed anything meanwhile;
/// [`Failure::Key`] and its like, if the signing key is missing or
/// unusable. Whatever fails before the publication leaves the old index.
pub async fn publish<S: ObjectStore>(
    store: &S,
    keys: &impl KeyStore,
    random: &mut impl CryptoRngCore,
    request: Aggregated,
) -> Result<Published, Failure> {
    let Aggregated { written, staged, .. } = request;
    let subject = written.target.key.parse::<Subject>().ok().zip(staged);
    let (subject, staged) =
        subject.ok_or_else(|| Failure::NothingStaged { key: written.target.key.clone() })?;
    let prefix = subject.prefix();
    let (signing_key, key_name) = signing_key(keys).await?;
    let (digest, index) = read_staged(store, prefix, &staged).await?;
    let signed = sign(prefix, &index, &signing_key, &key_name, random)?;
    publish_key(store, &signing_key, &key_name).await?;
    let etag = replace(store, prefix, digest, signed, staged).await?;
    let index = PublishedIndex { key: prefix.index_key(), etag, packages: index.entries().len() };
    info!(index = index.key, packages = index.packages, "index published");
    Ok(Published { written, index })
}

/// Reads the index of the staged snapshot and its digest, if no other one has replaced it.
async fn read_staged<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    staged: &Staged,
) -> Result<(String, Index), Failure> {
    let key = prefix.snapshot_key();
    let stored = port::read(store, &key, snapshot::MAX_STORED).await?;
    let Some(stored) = stored.filter(|stored| stored.info.etag == staged.snapshot) else {
        return Err(StoreError::Conflict { key }.into());
    };
    let mut reader = SnapshotReader::default();
    let outcome = reader.push(&stored.body).and_then(|()| reader.finish());
    outcome.map_err(|source| Failure::StagedDamaged { key: key.clone(), source })?;
    let digest = reader.header().map(|header| header.digest.clone());
    let digest = digest.ok_or(StoreError::Conflict { key })?;
    Ok((digest, reader.into_snapshot().into_index()))
}

async fn signing_key(keys: &impl KeyStore) -> Result<(SigningKey, KeyName), Failure> {
    let texts = keys.key().await.map_err(|source| Failure::Key {
        private_key: keys.private_key_parameter().to_owned(),
        key_name: keys.key_name_parameter().to_owned(),
        source,
    })?;
    let signing_key = SigningKey::from_pem(&texts.private_key).map_err(|source| {
        Failure::PrivateKey { parameter: keys.private_key_parameter().to_owned(), source }
    })?;
    let key_name = texts.name.trim().parse().map_err(|source| Failure::KeyName {
        parameter: keys.key_name_parameter().to_owned(),
        source,
    })?;
    Ok((signing_key, key_name))
}

/// Builds and signs `APKINDEX.tar.gz`, and looks at it as a client will.
fn sign(
    prefix: &RepositoryPrefix,
    index: &Index,
    signing_key: &SigningKey,
    key_name: &KeyName,
    random: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, Failure> {
    let failed = |source| Failure::Archive { prefix: prefix.to_string(), source };
    let unsigned = archive::write_unsigned(&prefix.description(), index).map_err(failed)?;
    let signed = archive::sign(&unsigned, signing_key, key_name, random).map_err(failed)?;
    let wrong = |source| Failure::SelfCheck { prefix: prefix.to_string(), source };
    let read = IndexArchive::read(&signed).map_err(|error| wrong(Some(error)))?;
    if read.index != *index || !read.is_signed_by(key_name, &signing_key.verifying_key()) {
        return Err(wrong(None));
    }
    Ok(signed)
}

/// Publishes the public key under its name, unless it is there. Another key under this name is one
/// that clients have: replacing it would make them refuse every index that it signed.
async fn publish_key<S: ObjectStore>(
    store: &S,
    signing_key: &SigningKey,
    key_name: &KeyName,
) -> Result<(), Failure> {
    let verifying_key = signing_key.verifying_key();
    let pem = verifying_key
        .to_pem()
        .map_err(|source| Failure::PublicKey { key_name: key_name.to_string(), source })?;
    let key = key_name.as_str();
    let present = port::read(store, key, 64 * 1024).await?;
    let present = present.map(|object| String::from_utf8_lossy(&object.body).into_owned());
    match present.map(|pem| VerifyingKey::from_pem(&pem)) {
        Some(Ok(present)) if present == verifying_key => return Ok(()),
        Some(Ok(_)) => return Err(Failure::KeyNameTaken { key_name: key_name.to_string() }),
        Some(Err(_)) | None => {}
    }
    let object = NewObject {
        bytes: pem.into_bytes(),
        content_type: "application/x-pem-file",
        attributes: Attributes::new(),
    };
    store.put(key, object, Precondition::None).await?;
    info!(key, "public key published");
    Ok(())
}

/// Replaces the index, and makes sure that the snapshot is still the one that was signed: whoever
/// replaced it listed the bucket after us and may have found that there is nothing to publish.
async fn replace<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    digest: String,
    signed: Vec<u8>,
    staged: Staged,
) -> Result<ETag, Failure> {
    let object = NewObject {
        bytes: signed,
        content_type: "application/gzip",
        attributes: Attributes::from([(DIGEST.to_owned(), digest)]),
    };
    let still = Precondition::still(staged.replaces);
    let etag = store.put(&prefix.index_key(), object, still).await?;
    let snapshot_key = prefix.snapshot_key();
    match store.head(&snapshot_key).await? {
        Some(snapshot) if snapshot.etag == staged.snapshot => Ok(etag),
        _ => Err(StoreError::Conflict { key: snapshot_key }.into()),
    }
}
