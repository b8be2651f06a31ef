use alpinist_apk::{
    entry::IndexEntry,
    package::{Package, PackageError, PackageReader},
    value::Excerpt,
};
use tracing::info;

use crate::{
    failure::Failure,
    location::PackageKey,
    message::{Accepted, Extracted, Target},
    port::{Object, ObjectBody, ObjectStore},
    refusal::Refusal,
};

/// Reads the package as it is now, checks it, and makes its index entry. A package that is gone is
/// no failure: its fragment and its entry will go, too.
///
/// # Errors
///
/// [`Failure::Refused`], if it may not be listed; [`Failure::Store`], if it can't be read.
pub async fn extract<S: ObjectStore>(store: &S, target: Target) -> Result<Extracted, Failure> {
    let Some(object) = store.get(&target.key).await? else {
        info!(key = target.key, "package is gone");
        return Ok(Extracted { target, accepted: None, refusal: None });
    };
    let package = object.info.etag.clone();
    let refused = |source| Failure::Refused { key: target.key.clone(), package: package.clone(), source };
    let key: PackageKey = target.key.parse().map_err(|error| refused(Refusal::Key(error)))?;
    let package_etag = object.info.etag.clone();
    let package = read_package(object).await?.map_err(|error| refused(error.into()))?;
    let entry = make_entry(&key, package).map_err(refused)?;
    info!(key = target.key, %package_etag, "package accepted");
    let accepted = Some(Accepted { package: package_etag, entry });
    Ok(Extracted { target, accepted, refusal: None })
}

/// Reads a package piece by piece, and no further than to the first fault.
async fn read_package<B: ObjectBody>(
    mut object: Object<B>,
) -> Result<Result<Package, PackageError>, Failure> {
    let mut reader = PackageReader::new();
    while let Some(piece) = object.body.next().await? {
        if let Err(error) = reader.push(&piece) {
            return Ok(Err(error));
        }
    }
    Ok(reader.finish())
}

fn make_entry(key: &PackageKey, package: Package) -> Result<IndexEntry, Refusal> {
    let Package { info, checksum, size, has_content, .. } = package;
    let directory = key.prefix().architecture().clone();
    let architecture = &info.metadata.architecture;
    if *architecture != directory && !architecture.is_noarch() {
        return Err(Refusal::Architecture { package: architecture.clone(), directory });
    }
    let entry = IndexEntry::new(info.metadata, directory, checksum, size, has_content)?;
    let expected = entry.file_stem();
    if key.stem() != expected {
        return Err(Refusal::FileName { found: Excerpt::of(key.stem().as_bytes()), expected });
    }
    Ok(entry)
}
