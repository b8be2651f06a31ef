//! Who may do what with which objects: the table that the template must match, whichever evaluator
//! checks it.

/// One of each kind of object.
pub const OBJECTS: [(&str, &str); 15] = [
    ("package", "3.22/main/x86_64/a+b-1-r0.apk"),
    ("copy", "3.22/main/x86_64/a b-1-r0.apk"),
    ("fragment", "3.22/main/x86_64/a-1-r0.index"),
    ("index", "3.22/main/x86_64/APKINDEX.tar.gz"),
    ("public key", "ops@example.com-5f3c2a1b.rsa.pub"),
    ("trusted key", ".alpinist/trusted-keys/builder@example.com-5f3c2a1b.rsa.pub"),
    ("snapshot", ".alpinist/published/3.22/main/x86_64/snapshot.json.gz"),
    ("lease", ".alpinist/claims/3.22/main/x86_64/1"),
    ("finding", ".alpinist/reindex/run/report.json"),
    ("rejection", ".alpinist/rejected/3.22/main/x86_64/a-1-r0@etag"),
    ("request for adoption", ".alpinist/adoption/3.22/main/x86_64/wanted"),
    ("state of another kind", ".alpinist/other"),
    ("list for the page", "repositories.json"),
    ("page", "index.html"),
    ("other object", "3.22/main/x86_64/README"),
];

/// What each function may do: the function, the action, and the kinds of objects.
pub const ALLOWED: [(&str, &str, &[&str]); 20] = [
    (
        "ExtractMetadata",
        "s3:GetObject",
        &["package", "copy", "fragment", "public key", "trusted key"],
    ),
    ("ExtractMetadata", "s3:ListBucket", &["bucket"]),
    ("WriteIndex", "s3:GetObject", &["package", "copy", "fragment"]),
    ("WriteIndex", "s3:PutObject", &["copy", "fragment", "finding", "rejection"]),
    ("WriteIndex", "s3:DeleteObject", &["copy", "fragment"]),
    ("WriteIndex", "s3:ListBucket", &["bucket"]),
    (
        "AggregateApkindex",
        "s3:GetObject",
        &["package", "copy", "fragment", "index", "snapshot", "lease", "finding"],
    ),
    (
        "AggregateApkindex",
        "s3:PutObject",
        &["snapshot", "lease", "finding", "request for adoption"],
    ),
    ("AggregateApkindex", "s3:DeleteObject", &["fragment", "lease"]),
    ("AggregateApkindex", "s3:ListBucket", &["bucket"]),
    ("SignAndPublish", "s3:GetObject", &["index", "public key", "snapshot", "list for the page"]),
    ("SignAndPublish", "s3:PutObject", &["index", "public key", "list for the page"]),
    ("SignAndPublish", "s3:ListBucket", &["bucket"]),
    (
        "SignAndPublish",
        "ssm:GetParameters",
        &["/roles/rsa", "/roles/key", "/roles/rsa-2", "/roles/key-2"],
    ),
    ("Reindex", "s3:GetObject", &["finding"]),
    ("Reindex", "s3:PutObject", &["finding"]),
    ("Reindex", "s3:ListBucket", &["bucket"]),
    ("Heal", "s3:GetObject", &["package", "copy", "fragment", "index", "snapshot", "lease"]),
    ("Heal", "s3:ListBucket", &["bucket"]),
    ("Heal", "states:StartExecution", &["state machine"]),
];

/// The functions.
pub const FUNCTIONS: [&str; 6] =
    ["ExtractMetadata", "WriteIndex", "AggregateApkindex", "SignAndPublish", "Reindex", "Heal"];

/// Returns the logical ID of the role of a function.
pub fn role_of(function: &str) -> String {
    match function {
        // `ReindexRole` is that of the state machine.
        "Reindex" => "ReindexFunctionRole".to_owned(),
        function => format!("{function}Role"),
    }
}
