//! What hostile uploaders send, and what somebody plants, against the deployed template.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use alpinist_apk::index_archive::IndexArchive;
use alpinist_tests::{Execution, PackageSpec, workspace};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    packages::assert_index_equals_oracle,
    repository::{Repository, assert_succeeded},
};

/// How many objects are put at the same time.
const AT_ONCE: usize = 8;

/// A repository, and the packages that its index must list, as checked with the real apk.
struct Story {
    repository: Repository,
    directory: TempDir,
    files: Vec<PathBuf>,
}

impl Story {
    /// Opens a repository, and publishes the first package.
    async fn begin(name: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut story =
            Self { repository: Repository::open(name).await, directory, files: Vec::new() };
        story.publish().await;
        story
    }

    /// Publishes the next package, `p0`, `p1` and so on, and checks what clients see.
    async fn publish(&mut self) {
        let name = format!("p{}", self.files.len());
        let package = self.repository.build(&PackageSpec::new(&name, "1.0"));
        self.repository.publish(&package).await;
        self.files.push(package.save(self.directory.path()).unwrap());
        self.check().await;
    }

    /// Checks that the index lists the packages and nothing else, and that a new machine can
    /// install them.
    async fn check(&self) {
        assert_index_equals_oracle(&self.repository, "x86_64", &self.files).await;
        let stems: Vec<_> = self.files.iter().map(|file| stem(file)).collect();
        assert_eq!(self.repository.available().await, stems);
        assert_eq!(self.repository.install("p0").await, "p0 1.0\n");
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.repository.prefix())
    }

    /// Puts objects below the prefix, whose executions must all reject them, and returns the causes
    /// by key.
    async fn rejected_causes(&self, objects: Vec<(String, Vec<u8>)>) -> BTreeMap<String, String> {
        let stack = &self.repository.stack;
        let prefix = self.key("");
        let before = stack.executions(&prefix).await.unwrap().len();
        let count = before + objects.len();
        stack.put_all(objects, AT_ONCE).await.unwrap();
        let executions = stack.wait_for_executions(&prefix, count).await.unwrap();
        executions.into_iter().skip(before).map(cause_of_rejection).collect()
    }
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn cause_of_rejection(execution: Execution) -> (String, String) {
    assert_eq!(execution.error.as_deref(), Some("Alpinist.PackageRejected"), "{execution:#?}");
    (execution.key.unwrap(), execution.cause.unwrap())
}

/// The corpus of the steps' own test, by file name, with the text of each rejection there.
fn corpus() -> Vec<(String, Vec<u8>, String)> {
    let folder = workspace::root().join("crates/repository/tests/hostile");
    let mut corpus = Vec::new();
    for file in fs::read_dir(folder.join("corpus")).unwrap() {
        let file = file.unwrap().path();
        let name = stem(&file);
        let snapshot = format!("hostile__rejected__{}.snap", name.trim_end_matches("-1.2.3-r0"));
        let snapshot = fs::read_to_string(folder.join("snapshots").join(snapshot)).unwrap();
        let (_, words) = snapshot.rsplit_once("\n---\n").unwrap();
        corpus.push((format!("{name}.apk"), fs::read(&file).unwrap(), words.trim_end().to_owned()));
    }
    corpus
}

#[tokio::test]
async fn each_file_of_the_hostile_corpus_is_rejected_and_harms_no_other() {
    let mut story = Story::begin("hostile").await;
    let index = story.repository.stack.get(&story.repository.index_key()).await.unwrap();
    let (mut objects, mut expected) = (Vec::new(), BTreeMap::new());
    for (name, bytes, words) in corpus() {
        let key = story.key(&name);
        expected.insert(key.clone(), format!("{key} was rejected: {words}"));
        objects.push((key, bytes));
    }
    assert!(objects.len() > 90, "{}", objects.len());
    assert_eq!(story.rejected_causes(objects).await, expected);
    assert_eq!(story.repository.stack.get(&story.repository.index_key()).await.unwrap(), index);
    story.check().await;
    story.publish().await;
}

#[tokio::test]
async fn a_key_that_no_package_has_is_rejected_in_one_line_that_no_terminal_obeys() {
    let mut story = Story::begin("hostile-keys").await;
    let evil = story.repository.build(&PackageSpec::new("evil", "1.0")).bytes;
    let layout = "is not 1 to 64 ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit. Upload";
    let architecture = "is not 1 to 32 lower-case ASCII letters, digits, `_` and `-`. Upload";
    let control = "its key has a control character. Upload";
    let file_name = "but clients will ask for `evil-1.0-r0.apk`, since the package says so. Upload";
    let named = [
        ("evil\n-1.0-r0.apk", "evil\\n-1.0-r0.apk", control),
        ("evil\u{1}-1.0-r0.apk", "evil\\u{1}-1.0-r0.apk", control),
        ("\u{1b}[2Jevil-1.0-r0.apk", "\\u{1b}[2Jevil-1.0-r0.apk", control),
        ("\u{9b}2Jevil-1.0-r0.apk", "\\u{9b}2Jevil-1.0-r0.apk", control),
        ("evil\u{2028}-1.0-r0.apk", "evil\\u{2028}-1.0-r0.apk", file_name),
        ("evil\u{202e}-1.0-r0.apk", "evil\\u{202e}-1.0-r0.apk", file_name),
        ("..\\evil-1.0-r0.apk", "..\\evil-1.0-r0.apk", file_name),
        ("../x86_64/evil-1.0-r0.apk", "../x86_64/evil-1.0-r0.apk", layout),
        ("./evil-1.0-r0.apk", "./evil-1.0-r0.apk", architecture),
    ];
    let objects = named.iter().map(|(name, ..)| (story.key(name), evil.clone())).collect();
    let causes = story.rejected_causes(objects).await;
    for (name, shown, rule) in named {
        let cause = &causes[&story.key(name)];
        let begin = format!("{} was rejected: ", story.key(shown));
        assert!(cause.starts_with(&begin) && cause.contains(rule), "{name:?}: {cause:?}");
        assert!(!cause.contains(char::is_control), "{name:?}: {cause:?}");
    }
    story.check().await;
    story.publish().await;
}

#[tokio::test]
async fn a_planted_fragment_does_not_change_what_is_listed() {
    let mut story = Story::begin("planted-fragments").await;
    story.publish().await;
    let fragment = story.key("p1-1.0-r0.index");
    let own = story.repository.stack.get(&fragment).await.unwrap().unwrap();
    let own = String::from_utf8(own).unwrap();
    let another = story.repository.stack.get(&story.key("p0-1.0-r0.index")).await.unwrap().unwrap();
    let evil = own.replace("P:p1\n", "P:evil\n");
    for planted in [
        b"garbage".to_vec(),
        another,
        evil.clone().into_bytes(),
        format!("{own}{evil}").into_bytes(),
        own.replace("\nT:", "\nP:evil\nT:").into_bytes(),
        own.replace("\nT:", "\nT:\rP:evil").into_bytes(),
    ] {
        assert_ne!(planted, own.as_bytes());
        story.repository.stack.overwrite(&fragment, planted).await.unwrap();
        story.publish().await;
    }
    story.repository.stack.plant(&story.key("evil-1.0-r0.index"), evil.into_bytes()).await.unwrap();
    story.publish().await;

    let input =
        json!({"bucket": story.repository.stack.bucket(), "key": story.key("p1-1.0-r0.apk")});
    assert_succeeded(&story.repository.stack.execute(&input).await.unwrap());
    let fixed = story.repository.stack.get(&fragment).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(fixed).unwrap(), own);
    story.check().await;
}

#[tokio::test]
async fn a_staged_object_that_somebody_overwrote_is_made_again() {
    let mut story = Story::begin("planted-snapshot").await;
    let stack = &story.repository.stack;
    // They expire after a day; with a damaged snapshot, the first one would be waited for, since
    // there is nothing to count from.
    for lease in stack.list(&format!(".alpinist/claims/{}", story.key(""))).await.unwrap() {
        stack.discard(&lease).await.unwrap();
    }
    let snapshot = format!(".alpinist/published/{}snapshot.json.gz", story.key(""));
    stack.overwrite(&snapshot, b"garbage".to_vec()).await.unwrap();
    story.publish().await;
    story.publish().await;
}

#[tokio::test]
async fn an_index_that_somebody_overwrote_is_made_again() {
    let mut story = Story::begin("planted-index").await;
    let index = story.repository.index_key();
    story.repository.stack.overwrite(&index, b"garbage".to_vec()).await.unwrap();
    story.publish().await;

    let stack = &story.repository.stack;
    let signed = stack.get(&index).await.unwrap().unwrap();
    let unsigned = IndexArchive::read(&signed).unwrap().unsigned.to_vec();
    stack.overwrite(&index, unsigned.clone()).await.unwrap();
    let input = json!({"bucket": stack.bucket(), "key": index});
    assert_succeeded(&stack.execute(&input).await.unwrap());
    assert_eq!(stack.get(&index).await.unwrap().unwrap(), signed);
    story.check().await;

    // Without our attributes, it looks for some seconds like one that is about to be replaced.
    story.repository.stack.plant(&index, unsigned).await.unwrap();
    story.publish().await;
}
