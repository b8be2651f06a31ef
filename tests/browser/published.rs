//! What the page is to show: packages that were uploaded, and indexes that somebody planted.

use alpinist_apk::{
    adb::{
        container::Schema,
        index::AdbIndex,
        signature::{AdbSignature, PayloadDigest},
    },
    entry::IndexEntry,
    index::Index,
    index_archive,
    key::SigningKey,
    key_name::KeyName,
    signature::{Signature, SignatureName},
};
use alpinist_samples::{
    gzip::{gzip_at, streams},
    tar::{end_of_archive, file},
};
use alpinist_tests::{
    Alpinist, EmulatorOptions, KeyPair, LocalStack, PackageSpec, Stack, Tools, http,
};
use rand_core::OsRng;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How many packages two indexes have.
const SOME: usize = 5_000;
const MANY: usize = 30_000;

/// Entries of an index of format v2, by somebody who means harm.
const HOSTILE: [&str; 7] = [
    "P:<img src=x onerror=window.pwned=1>\nV:1.0\"><img src=x onerror=window.pwned=1>\nS:NaN\n\
     T:<b>bold</b><script>window.pwned=1</script>\nU:javascript:window.pwned=1\nt:Infinity",
    "P:__proto__\nV:1\nS:99999999999999999999999999999\nt:99999999999999999999999999999\n\
     T:x\nU:https://example.com/a\"b\no:__proto__\nD:constructor __proto__ toString",
    "P:constructor\nV:1\nS:-1\nt:-1\nT:{{7*7}}${7*7}\nU: javascript:window.pwned=1\nD:__proto__",
    "P:$(touch /tmp/x);`id`|sh\nV:1\nS:\nt:\nT:\u{202e}txet\nU:data:text/html,<script>1</script>",
    "P:../../../../x\nV:../x\nT:..\nU:https://\nA:../..\np:../x=1 <svg/onload=window.pwned=1>",
    "P:\"><svg onload=window.pwned=1>\nV:1\nT:\"'<>&\nU:https://[\nD:!<b> <b>=1 ><=~",
    "X:no name\nV:1\nT:is no package",
];

/// What the pictures show: name, version, size, description, and dependencies.
const EXAMPLES: [(&str, &str, usize, &str, &str); 12] = [
    (
        "acme-agent",
        "2.7.1-r0",
        8_431_200,
        "Reports what a machine does",
        "acme-common so:libacme.so.2",
    ),
    (
        "acme-agent",
        "2.7.0-r1",
        8_430_911,
        "Reports what a machine does",
        "acme-common so:libacme.so.2",
    ),
    (
        "acme-agent",
        "2.6.4-r0",
        8_390_102,
        "Reports what a machine does",
        "acme-common so:libacme.so.2",
    ),
    ("acme-agent-openrc", "2.7.1-r0", 2_114, "Reports what a machine does (OpenRC)", "acme-agent"),
    (
        "acme-cli",
        "1.12.0-r0",
        3_520_448,
        "Talks to the agents from a shell",
        "acme-common libacme>=2",
    ),
    ("acme-common", "2.7.1-r0", 41_900, "Users, groups and directories of Acme", "busybox"),
    ("acme-keys", "2026.11-r0", 4_096, "Public keys of Acme's repositories", "acme-common"),
    (
        "libacme",
        "2.3.0-r2",
        182_533,
        "The protocol of the agents, as a library",
        "so:libc.musl-x86_64.so.1",
    ),
    ("libacme-dev", "2.3.0-r2", 30_720, "The protocol of the agents (headers)", "libacme=2.3.0-r2"),
    (
        "nginx-acme",
        "1.28.0-r3",
        96_256,
        "Shows the state of agents in nginx",
        "nginx so:libacme.so.2",
    ),
    ("postgres-acme", "17.2-r0", 61_440, "Stores reports of agents in PostgreSQL", "libacme"),
    (
        "zz-acme-tests",
        "2.7.1-r0",
        734_003,
        "Tests of the agents on a real machine",
        "acme-agent acme-cli",
    ),
];

fn example((name, version, size, text, depends): (&str, &str, usize, &str, &str)) -> IndexEntry {
    let origin = if name.starts_with("libacme") { "libacme" } else { "acme-agent" };
    let library = if name == "libacme" { " so:libacme.so.2=2.3.0" } else { "" };
    entry(&format!(
        "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:{name}\nV:{version}\nA:x86_64\nS:{size}\nI:{}\nT:{text}\n\
         U:https://example.com/{name}\nL:Apache-2.0\no:{origin}\nm:Acme <packages@example.com>\n\
         t:{}\nc:0123456789abcdef0123456789abcdef01234567\nD:{depends}\n\
         p:cmd:{name}={version}{library}\n",
        3 * size,
        1_790_000_000 + 40_000 * text.len(),
    ))
}

/// Keys by the parts that they play.
struct Keys {
    stack: Key,
    other: Key,
    unknown: Key,
    p256: Key,
    p384: Key,
}

struct Key {
    pair: KeyPair,
    name: KeyName,
    signing: SigningKey,
}

impl Key {
    fn new(pair: KeyPair) -> Self {
        let signing = SigningKey::from_pem(pair.private()).unwrap();
        Self { name: pair.name().parse().unwrap(), pair, signing }
    }

    /// Signs an unsigned index under a name, which may be another's.
    fn sign_as(&self, name: &KeyName, unsigned: &[u8]) -> Vec<(SignatureName, Signature)> {
        self.signing.sign_index(name, unsigned, &mut OsRng).unwrap()
    }

    fn sign(&self, unsigned: &[u8]) -> Vec<(SignatureName, Signature)> {
        self.sign_as(&self.name, unsigned)
    }

    fn sign_adb(&self, payload: &[u8]) -> AdbSignature {
        let digest = PayloadDigest::of(payload);
        AdbSignature::sign(&self.signing, Schema::Index, &digest, &mut OsRng).unwrap()
    }
}

/// Returns what is published, made once in this process.
pub(crate) async fn published() -> &'static Value {
    static PUBLISHED: OnceCell<(LocalStack, Value)> = OnceCell::const_new();
    &PUBLISHED.get_or_init(publish).await.1
}

async fn publish() -> (LocalStack, Value) {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy().unwrap();
    let rsa = |who| Key::new(KeyPair::generate(who, KeyPair::BITS_FOR_TESTS).unwrap());
    let ec = |name, curve| Key::new(KeyPair::generate_ec(name, curve).unwrap());
    let keys = Keys {
        stack: rsa("ops@example.com"),
        other: rsa("other@example.com"),
        unknown: rsa("unknown@example.com"),
        p256: ec("p256.pem", "prime256v1"),
        p384: ec("p384@example.com.ec.pub", "secp384r1"),
    };
    stack.put_key(&keys.stack.pair).await.unwrap();
    for key in [&keys.other, &keys.p256, &keys.p384] {
        stack.put(key.pair.name(), key.pair.public().unwrap().into_bytes()).await.unwrap();
    }
    let alpinist = Alpinist::build().unwrap().on(&stack);
    let directory = tempfile::tempdir().unwrap();
    let put = alpinist.run(directory.path(), "page put").unwrap();
    assert_eq!(put.status, Some(0), "{put}");
    let answer = http::get(&format!("{}/index.html", stack.repository_url())).unwrap();
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));

    let hello = upload(&stack).await;
    // Nobody mends what is planted now.
    stack.send_no_events().await.unwrap();
    plant_v2(&stack, &keys).await;
    plant_v3(&stack, &keys).await;
    let url = stack.repository_url();
    let arguments = format!("setup both --url {url} --key-name {}", keys.stack.name);
    let setup = alpinist.run(directory.path(), &arguments).unwrap();
    let lines = setup.out.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<_> = lines.collect();
    let published = json!({
        "base": url,
        "other": url.replace("127.0.0.1", "plain.example"),
        "hello": hello,
        "setup": lines,
        "keys": {
            "stack": keys.stack.name,
            "other": keys.other.name,
            "p256": keys.p256.name,
            "p384": keys.p384.name,
        },
        // The first two are in the list for the page, since they were uploaded into.
        "directories": {
            "uploaded": "a/b/uploaded/x86_64",
            "both": "both/x86_64",
            "some": "some/x86_64",
            "many": "many/x86_64",
            "pictures": "3.22/main/x86_64",
            "empty": "empty/x86_64",
            "hostile": "hostile/x86_64",
            "changed": "changed/x86_64",
            "impostor": "impostor/x86_64",
            "unknownKey": "unknown-key/x86_64",
            "twoKeys": "two-keys/x86_64",
            "garbage": "garbage/x86_64",
            "cut": "cut/x86_64",
            "v3": "v3/x86_64",
            "v3Short": "v3-short/x86_64",
            "v3Changed": "v3-changed/x86_64",
            "v3Garbage": "v3-garbage/x86_64",
            "v3Zstd": "v3-zstd/x86_64",
            "halfDamaged": "half-damaged/x86_64",
        },
    });
    (local_stack, published)
}

/// Uploads packages, and returns the size of one.
async fn upload(stack: &Stack) -> usize {
    let tools = Tools::install().unwrap();
    let upload = async |key: &str, bytes: Vec<u8>| {
        let execution = stack.upload(key, bytes).await.unwrap();
        assert_eq!(execution.error, None, "{execution:?}");
    };
    let mut size = 0;
    for spec in [
        PackageSpec::new("greeter", "1.0").depends("hello>=1.0"),
        PackageSpec::new("hello", "1.9"),
        PackageSpec::new("hello", "1.10"),
    ] {
        let package = spec.build(&tools).unwrap();
        size = package.bytes.len();
        upload(&package.key("a/b/uploaded/x86_64"), package.bytes).await;
    }
    for name in ["both", "only-v2"] {
        let package = PackageSpec::new(name, "1.0").build(&tools).unwrap();
        upload(&package.key("both/x86_64"), package.bytes).await;
    }
    for name in ["both", "only-v3"] {
        let v3 = stack.apk().make_package(name, "1.0-r0", &["arch:x86_64"]).unwrap();
        upload(&format!("both/x86_64/{name}-1.0-r0.apk"), v3).await;
    }
    size
}

fn entry(text: &str) -> IndexEntry {
    IndexEntry::from_stored(&format!("{text}\n")).unwrap()
}

/// The entry of one of many packages.
fn one_of_many(number: usize) -> IndexEntry {
    let origin = number / 100;
    entry(&format!(
        "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:many-{number:06}\nV:1.2.3-r{number}\nA:x86_64\nS:10000\n\
         I:40000\nT:Number {number} of those that are many\nU:https://example.com/many\nL:MIT\n\
         o:from-{origin}-of\nm:Somebody <somebody@example.com>\nt:{}\n\
         c:0123456789abcdef0123456789abcdef01234567\nD:so:libc.musl-x86_64.so.1 many-000000\n\
         p:cmd:many-{number}=1.2.3-r{number} so:libmany-{number}.so.1=1.2.3\n",
        1_600_000_000 + number
    ))
}

async fn plant_v2(stack: &Stack, keys: &Keys) {
    let write = |entries: Vec<IndexEntry>| {
        index_archive::write_unsigned("planted", &Index::new(entries)).unwrap()
    };
    let seal = |signatures: &[_], unsigned: &[u8]| {
        index_archive::write_signed(signatures, unsigned).unwrap()
    };
    let few = write((0..3).map(one_of_many).collect());
    let others = write((3..6).map(one_of_many).collect());
    let some = write((0..SOME).map(one_of_many).collect());
    let many = write((0..MANY).map(one_of_many).collect());
    let many = seal(&keys.stack.sign(&many), &many);
    let pictured = write(EXAMPLES.map(example).to_vec());
    let empty = write(Vec::new());
    let both = [keys.other.sign(&few), keys.stack.sign(&few)].concat();
    for (directory, index) in [
        ("empty", seal(&keys.stack.sign(&empty), &empty)),
        ("hostile", hostile_index(&keys.stack)),
        ("changed", seal(&keys.stack.sign(&few), &others)),
        ("impostor", seal(&keys.other.sign_as(&keys.stack.name, &few), &few)),
        ("unknown-key", seal(&keys.unknown.sign(&few), &few)),
        ("two-keys", seal(&both, &few)),
        ("half-damaged", seal(&keys.stack.sign(&few), &few)),
        ("garbage", b"garbage".to_vec()),
        ("cut", many[..many.len() / 2].to_vec()),
        ("some", seal(&keys.stack.sign(&some), &some)),
        ("many", many),
        ("3.22/main", seal(&keys.stack.sign(&pictured), &pictured)),
    ] {
        stack.plant(&format!("{directory}/x86_64/APKINDEX.tar.gz"), index).await.unwrap();
    }
}

/// A signed index of hostile entries, one of which is of a package with the longest name. Somebody
/// claims to have signed it whose name is a command.
fn hostile_index(key: &Key) -> Vec<u8> {
    let long = format!("P:{0}\nV:{0}\nT:{0}{0}\nU:https://example.com/{0}\nm:{0}", "x".repeat(128));
    let entries: Vec<_> = HOSTILE.into_iter().chain([&*long]).collect();
    let text = format!("{}\n\n", entries.join("\n\n"));
    let files = [file("DESCRIPTION", "<b>"), file("APKINDEX", text), end_of_archive()];
    let unsigned = gzip_at(files.concat(), 6);
    let signed = index_archive::write_signed(&key.sign(&unsigned), &unsigned).unwrap();
    let [(_, right), ..] = &streams(&signed)[..] else { panic!("it has two streams") };
    let wrong = [".SIGN.RSA256.$(id).rsa.pub", ".SIGN.RSA256.<b>.rsa.pub"];
    let wrong = wrong.map(|name| file(name, b"x")).concat();
    [gzip_at([&*wrong, right].concat(), 6), unsigned].concat()
}

/// An index with a signature in which a number is shorter than the order of the curve: one of 128
/// is.
fn short_signature<'a>(
    key: &Key,
    entries: &'a [IndexEntry],
) -> (AdbIndex<'a>, Vec<u8>, AdbSignature) {
    // Two numbers of 32 bytes, the headers of both and of the pair, and what comes before them.
    let usual = 2 * 32 + 6 + 18;
    let mut made = (1..=entries.len()).flat_map(|length| {
        entries.windows(length).map(|entries| {
            let (index, _) = AdbIndex::new("planted", entries);
            let payload = index.payload().unwrap();
            let signature = key.sign_adb(&payload);
            (index, payload, signature)
        })
    });
    made.find(|(_, _, signature)| signature.to_block().len() < usual).unwrap()
}

async fn plant_v3(stack: &Stack, keys: &Keys) {
    let v3 = |version: &str, description: &str| {
        entry(&format!(
            "C:Q2AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:alone\nV:{version}\nA:x86_64\nS:7\n\
             I:9\nT:{description}\nU:https://example.com\nL:MIT\nt:1700000000\n\
             D:!conflict needed>=1.0\n"
        ))
    };
    let entries = [v3("1.0-r0", "The first"), v3("2.0-r0", "The second"), one_of_many(1)];
    let changed = [v3("1.0-r0", "Another one")];
    let [(index, _), (other, _)] =
        [&entries[..], &changed[..]].map(|entries| AdbIndex::new("planted", entries));
    let [payload, other_payload] = [&index, &other].map(|index| index.payload().unwrap());
    let signatures = [&keys.stack, &keys.p256, &keys.p384].map(|key| key.sign_adb(&payload));
    let several: Vec<_> = (0..100).map(one_of_many).collect();
    let (short, short_payload, signature) = short_signature(&keys.p256, &several);
    let short = short.seal(&short_payload, &[signature], []).unwrap();
    for (directory, bytes) in [
        ("v3-short", short),
        ("v3", index.seal(&payload, &signatures, []).unwrap()),
        ("v3-changed", other.seal(&other_payload, &signatures, []).unwrap()),
        ("v3-garbage", b"garbage".to_vec()),
        ("half-damaged", b"garbage".to_vec()),
        ("v3-zstd", b"ADBc\x02\x03garbage".to_vec()),
    ] {
        stack.plant(&format!("{directory}/x86_64/Packages.adb"), bytes).await.unwrap();
    }
}
