//! What holds for arbitrary values and bytes.

use std::cmp::Ordering;

use alpinist_apk::{
    adb::index::{AdbIndex, AdbIndexError, ReadIndex},
    checksum::{Identity, PayloadHash, PullChecksum},
    dependency::{Dependencies, Dependency},
    entry::IndexEntry,
    index::Index,
    index_archive::IndexArchive,
    key::{SigningKey, VerifyingKey},
    metadata::Metadata,
    package::Package,
    package_info::{PackageInfo, PackageInfoError},
    value::FieldText,
    version::Version,
};
use alpinist_samples::{
    gzip::gzip,
    package::Parts,
    tar::{end_of_archive, file, fixed, installed},
};
use proptest::prelude::*;

use crate::support::read;

/// Text without control characters, with bytes that could be part of another format.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ -~äЖ中🦀]{1,40}", "[:=<>~!,.\\[ A-Za-z]{1,20}"]
}

fn version() -> impl Strategy<Value = String> {
    "[0-9]{1,3}(\\.[0-9]{1,3}){0,2}[a-z]?(_(alpha|rc|git|p)[0-9]{0,2}){0,2}(~[0-9a-f]{1,4})?(-r[0-9])?"
}

/// Versions that often agree in their first parts, inside and outside the grammar.
fn accepted_version() -> impl Strategy<Value = Version> {
    prop_oneof![version(), "[01]([01.]|a|_rc|_p|_x|~|-r|-|\\+){0,5}"]
        .prop_filter_map("not a version", |text| text.parse().ok())
}

fn token() -> impl Strategy<Value = String> {
    let operator = "=|==|<|<=|=<|>|>=|=>|~|~=|=~|<~|>~";
    let versioned = (operator, version()).prop_map(|(operator, version)| operator + &version);
    let checksum = ("><|<>", any::<[u8; 20]>())
        .prop_map(|(operator, sha1)| format!("{operator}{}", PullChecksum::new(sha1)));
    ("!?[a-zA-Z0-9+._:/'ß\\[\\]-]{1,12}", prop_oneof![Just(String::new()), versioned, checksum])
        .prop_map(|(name, constraint)| name + &constraint)
}

fn provided() -> impl Strategy<Value = String> {
    token().prop_map(|token| token.trim_start_matches('!').to_owned())
}

fn tokens(token: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(token, 1..5).prop_map(|tokens| tokens.join(" "))
}

prop_compose! {
    fn info()(
        name in "[a-zA-Z0-9][a-zA-Z0-9._+-]{0,20}",
        version in accepted_version(),
        architecture in "[a-z0-9_-]{1,10}",
        (size, time, priority) in any::<(u64, u64, u16)>(),
        texts in prop::collection::vec(text(), 6),
        lists in prop::collection::vec(
            prop_oneof![
                2 => (prop::sample::select(vec!["depend", "install_if"]), tokens(token())),
                1 => (Just("provides"), tokens(provided())),
            ],
            0..6,
        ),
    ) -> PackageInfo {
        let keys = ["pkgdesc", "url", "license", "origin", "maintainer", "commit"];
        let lines = keys.into_iter().zip(&texts).chain(lists.iter().map(|(key, list)| (*key, list)));
        let lines: Vec<_> = lines.map(|(key, value)| format!("{key} = {value}\n")).collect();
        let conflicts = |line: &&String| line.starts_with("provides") || line.starts_with("depend");
        let hash = "0".repeat(64);
        let text = format!(
            "pkgname = {name}\npkgver = {version}\narch = {architecture}\nsize = {size}\n\
             builddate = {time}\nprovider_priority = {priority}\ndatahash = {hash}\n{}",
            lines.concat()
        );
        match PackageInfo::parse(text.as_bytes()) {
            // It would conflict with itself.
            Err(
                PackageInfoError::ProvidesItself { .. }
                | PackageInfoError::ProvidesTwice { .. }
                | PackageInfoError::Unmet { .. },
            ) => {
                let rest = lines.iter().filter(|line| !conflicts(line)).cloned();
                let text = text.replace(&lines.concat(), &rest.collect::<String>());
                PackageInfo::parse(text.as_bytes()).unwrap()
            }
            info => info.unwrap(),
        }
    }
}

prop_compose! {
    fn entry()(
        info in info(),
        (sha1, size, has_content) in any::<([u8; 20], u64, bool)>(),
    ) -> IndexEntry {
        let identity = PullChecksum::new(sha1).into();
        IndexEntry::new(info.metadata, "x86_64".parse().unwrap(), identity, size, has_content).unwrap()
    }
}

/// A value of an ADB payload, of any type, that points to something nearby.
fn value() -> impl Strategy<Value = u32> {
    let kind = prop::sample::select(vec![0, 1, 2, 3, 8, 9, 10, 13, 14, 14, 14, 15]);
    (kind, prop_oneof![4 => (2..40_u32).prop_map(|word| 4 * word), 1 => 0..160_u32])
        .prop_map(|(kind, offset)| kind << 28 | offset)
}

prop_compose! {
    /// An entry with what no index of v2 has.
    fn stored()(
        mut entry in entry(),
        sha256 in prop::option::of(any::<[u8; 32]>()),
        lists in prop::collection::vec(prop_oneof![Just(String::new()), tokens(token())], 2),
        tags in prop::collection::vec("[A-Za-z0-9._+,:/\\[\\]=-]{1,9}", 0..4),
        layer in prop_oneof![Just(0), any::<u64>()],
    ) -> IndexEntry {
        entry.identity = sha256.map_or(entry.identity, |sha256| PayloadHash::new(sha256).into());
        let metadata = &mut entry.metadata;
        for (field, list) in [&mut metadata.replaces, &mut metadata.recommends].into_iter().zip(&lists) {
            *field = Dependencies::default();
            field.extend(list.split_terminator(' ').map(|token| Dependency::parse(token).unwrap()));
        }
        metadata.tags = tags.join(" ").parse().unwrap();
        metadata.layer = layer;
        entry
    }
}

proptest! {
    #[test]
    fn an_entry_is_parsed_as_it_was_printed(entry in entry()) {
        let text = entry.to_string();
        prop_assert_eq!(text.parse::<IndexEntry>(), Ok(entry));
        prop_assert!(text.ends_with("\n\n"));
        prop_assert_eq!(text.matches("\n\n").count(), 1);
    }

    #[test]
    fn an_entry_is_read_from_where_it_was_stored(entry in stored()) {
        let text = entry.stored().to_string();
        prop_assert!(text.ends_with("\n\n"));
        prop_assert_eq!(text.matches("\n\n").count(), 1);
        let lines = entry.to_string();
        prop_assert!(text.starts_with(lines.strip_suffix('\n').unwrap()));
        let metadata = &entry.metadata;
        let lists = [metadata.replaces.as_str(), metadata.recommends.as_str(), metadata.tags.as_str()];
        let is_v2 = matches!(entry.identity, Identity::Control(_));
        let is_of_index = is_v2 && metadata.layer == 0 && lists.iter().all(|list| list.is_empty());
        prop_assert_eq!(text == lines && is_v2, is_of_index);
        prop_assert_eq!(text.parse::<IndexEntry>().is_ok(), is_of_index);
        prop_assert_eq!(IndexEntry::from_stored(&text), Ok(entry));
    }

    #[test]
    fn an_index_is_parsed_as_it_was_printed(entries in prop::collection::vec(entry(), 0..6)) {
        let index = Index::new(entries);
        prop_assert_eq!(index.to_string().parse::<Index>(), Ok(index));
    }

    /// `seal` reads the index back, and compares its entries with those that were meant.
    #[test]
    fn an_index_of_format_v3_lists_what_it_was_written_from(
        entries in prop::collection::vec(stored(), 0..6),
    ) {
        let (index, left_out) = AdbIndex::new("D", &entries);
        prop_assert_eq!(index.entries().len() + left_out.len(), entries.len());
        let payload = index.payload().unwrap();
        let sealed = index.seal(&payload, &[], []);
        prop_assert!(sealed.is_ok(), "{sealed:?}");
    }

    #[test]
    fn an_index_of_format_v3_of_arbitrary_values_is_read_or_rejected(
        bytes: Vec<u8>,
        root in value(),
        words in prop::collection::vec(prop_oneof![value(), 0..6_u32], 2..40),
    ) {
        let _rejected = ReadIndex::read(&bytes);
        let words = [&[0, root], &*words].concat();
        let length = u32::try_from(4 * words.len() + 4).unwrap();
        let padding: &[u32] = if length.is_multiple_of(8) { &[] } else { &[0] };
        let words = [&[length], &*words, padding].concat();
        let words = words.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<_>>();
        if let Err(error) = ReadIndex::read(&[b"ADB.indx", &*words].concat()) {
            prop_assert!(!matches!(error, AdbIndexError::Container(_)), "{error:?}");
        }
    }

    #[test]
    fn an_index_does_not_depend_on_the_order_in_which_its_entries_come(
        entries in prop::collection::vec(entry(), 0..6),
        names in prop::collection::vec("[aAbB]{1,2}", 6),
    ) {
        let named = entries.into_iter().zip(names).map(|(mut entry, name)| {
            entry.metadata.name = name.parse().unwrap();
            entry
        });
        let mut entries: Vec<_> = named.collect();
        entries.sort_by_key(IndexEntry::file_stem);
        entries.dedup_by_key(|entry| entry.file_stem());
        let reversed = entries.iter().rev().cloned();
        prop_assert_eq!(Index::new(reversed), Index::new(entries.clone()));
    }

    #[test]
    fn a_dependency_is_parsed_as_it_was_printed(token in token()) {
        let dependency = Dependency::parse(&token).unwrap();
        let printed = dependency.to_string();
        prop_assert_eq!(Dependency::parse(&printed), Ok(dependency));
    }

    #[test]
    fn whatever_is_taken_for_a_dependency_is_printed_as_one_token(
        token in "[ab01.~<>=!@:/_r\\n\\r\\t -]{0,8}",
    ) {
        let readings = [Dependency::parse(&token), Dependency::parse_provided(&token)];
        for (position, dependency) in readings.into_iter().enumerate() {
            let Ok(dependency) = dependency else { continue };
            let text = dependency.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
            let parse = [Dependency::parse, Dependency::parse_provided][position];
            let again = parse(&text);
            prop_assert_eq!(again, Ok(dependency));
        }
    }

    #[test]
    fn a_version_is_parsed_as_it_was_printed(version in accepted_version()) {
        prop_assert_eq!(version.to_string().parse::<Version>(), Ok(version));
    }

    #[test]
    fn the_order_of_versions_is_total(
        a in accepted_version(),
        b in accepted_version(),
        c in accepted_version(),
    ) {
        prop_assert_eq!(a.order(&b), b.order(&a).reverse());
        prop_assert!(a != b || a.order(&b) == Ordering::Equal);
        let mut sorted = [&a, &b, &c];
        sorted.sort_by(|a, b| a.order(b));
        prop_assert!(sorted[0].order(sorted[2]).is_le(), "{sorted:?}");
    }

    #[test]
    fn every_version_of_the_grammar_is_canonical(text in version()) {
        prop_assert!(text.parse::<Version>().unwrap().is_canonical());
    }

    #[test]
    fn a_text_never_smuggles_a_line_into_an_entry(
        mut entry in entry(),
        field in 0_usize..6,
        text in prop_oneof![any::<String>(), "[a:\\n\\r\\x00\\x0b\\x0c\\x7f]{0,4}"],
    ) {
        let Ok(text) = text.parse::<FieldText>() else { return Ok(()) };
        let lines = |entry: &IndexEntry| entry.to_string().lines().count();
        let fields = [
            &mut entry.metadata.description, &mut entry.metadata.url, &mut entry.metadata.license,
            &mut entry.metadata.origin, &mut entry.metadata.maintainer, &mut entry.metadata.commit,
        ];
        *fields.into_iter().nth(field).unwrap() = "x".parse().unwrap();
        let before = lines(&entry);
        let fields = [
            &mut entry.metadata.description, &mut entry.metadata.url, &mut entry.metadata.license,
            &mut entry.metadata.origin, &mut entry.metadata.maintainer, &mut entry.metadata.commit,
        ];
        let always_there = field < 3 || !text.is_empty();
        *fields.into_iter().nth(field).unwrap() = text;
        prop_assert_eq!(lines(&entry), before - usize::from(!always_there));
        prop_assert!(!entry.to_string().contains(['\r', '\0', '\x0b', '\x0c', '\x7f']));
    }

    #[test]
    fn whatever_is_taken_for_an_index_is_printed_as_one(
        text in "([CPVASITULomtckDpiZ]:[a-z0-9=:\\n -]{0,6}\\n){0,9}",
        entries in prop::collection::vec(entry(), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let valid = Index::new(entries).to_string();
        let position = (0..=cut.index(valid.len() + 1)).rev()
            .find(|position| valid.is_char_boundary(*position)).unwrap();
        let (before, after) = valid.split_at(position);
        if let Ok(index) = format!("{before}{text}{after}").parse::<Index>() {
            prop_assert_eq!(index.to_string().parse::<Index>(), Ok(index));
        }
    }

    #[test]
    fn arbitrary_bytes_are_nothing_to_us(
        prefix in prop::sample::select(vec![&b""[..], b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\x02\x03"]),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let bytes = [prefix, &bytes].concat();
        prop_assert!(read(&bytes).is_err());
        prop_assert!(IndexArchive::read(&bytes).is_err());
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(PackageInfo::parse(&bytes).is_err());
        prop_assert!(SigningKey::from_pem(&text).is_err());
        prop_assert!(VerifyingKey::from_pem(&text).is_err());
    }
}

/// A change of a few bytes somewhere.
#[derive(Clone, Debug)]
enum Mutation {
    Set(u8),
    Flip(u32),
    Remove(usize),
    Repeat(usize),
}

fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, Mutation)>> {
    let mutation = prop_oneof![
        any::<u8>().prop_map(Mutation::Set),
        (0_u32..8).prop_map(Mutation::Flip),
        (1_usize..40).prop_map(Mutation::Remove),
        (1_usize..600).prop_map(Mutation::Repeat),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), mutation), 1..4)
}

fn mutate(mut bytes: Vec<u8>, mutations: &[(prop::sample::Index, Mutation)]) -> Vec<u8> {
    for (position, mutation) in mutations {
        if bytes.is_empty() {
            break;
        }
        let start = position.index(bytes.len());
        let up_to = |length: usize| start..(start + length).min(bytes.len());
        match mutation {
            Mutation::Set(byte) => bytes[start] = *byte,
            Mutation::Flip(bit) => bytes[start] ^= 1 << bit,
            Mutation::Remove(length) => drop(bytes.drain(up_to(*length))),
            Mutation::Repeat(length) => {
                let repeated = bytes[up_to(*length)].to_vec();
                bytes.splice(start..start, repeated);
            }
        }
    }
    bytes
}

/// Returns the meaning of a package, without what depends on its exact bytes.
fn meaning(package: Package) -> (Metadata, bool) {
    (package.metadata, package.has_content)
}

proptest! {
    #[test]
    fn a_mutated_package_is_rejected_or_means_the_same(mutations in mutations()) {
        let original = Parts::new().after_info(file(".post-install", "#!/bin/sh\n")).build();
        if let Ok(package) = read(&mutate(original.clone(), &mutations)) {
            prop_assert_eq!(meaning(package), meaning(read(&original).unwrap()));
        }
    }

    #[test]
    fn a_mutated_control_tar_never_panics(mutations in mutations()) {
        let parts = Parts::new().after_info(file(".post-install", "#!/bin/sh\n"));
        let control = gzip(fixed(mutate(parts.control_tar(), &mutations)));
        if let Ok(package) = read(&parts.sections().map_control(|_| control).build()) {
            let Package { metadata, identity, size, has_content, .. } = package;
            let entry =
                IndexEntry::new(metadata, "x86_64".parse().unwrap(), identity, size, has_content);
            let entry = entry.unwrap();
            prop_assert_eq!(entry.to_string().parse::<IndexEntry>(), Ok(entry));
        }
    }

    #[test]
    fn a_mutated_data_tar_never_panics(mutations in mutations()) {
        let tar = [installed("usr/hello", "hello\n"), installed("usr/bye", ""), end_of_archive()].concat();
        let data = gzip(fixed(mutate(tar, &mutations)));
        let _never_panics = read(&Parts::new().data_stream(data).build());
    }
}
