//! The repository of a story, and what the story does with it.

use std::collections::BTreeSet;

use alpinist_tests::{
    ApkClient, Execution, ExecutionStatus, LocalStack, Package, PackageSpec, Request, Stack, Tools,
};

/// A repository on the shared stack that no other story uses.
pub(crate) struct Repository {
    pub(crate) stack: Stack,
    pub(crate) tools: Tools,
    name: &'static str,
}

impl Repository {
    /// Opens the repository `<name>/main`.
    pub(crate) async fn open(name: &'static str) -> Self {
        let stack = LocalStack::shared().await.unwrap();
        Self { stack, tools: Tools::install().unwrap(), name }
    }

    /// `<branch>/<repository>/<architecture>`
    pub(crate) fn prefix(&self) -> String {
        format!("{}/main/x86_64", self.name)
    }

    pub(crate) fn index_key(&self) -> String {
        format!("{}/APKINDEX.tar.gz", self.prefix())
    }

    pub(crate) fn build(&self, spec: &PackageSpec) -> Package {
        spec.build(&self.tools).unwrap()
    }

    /// Uploads a package, and checks that its execution publishes it.
    pub(crate) async fn publish(&self, package: &Package) -> Execution {
        let key = package.key(&self.prefix());
        let execution = self.stack.upload(&key, package.bytes.clone()).await.unwrap();
        assert_succeeded(&execution);
        execution
    }

    /// The requests to S3 after `mark` by invocations that worked on this repository.
    pub(crate) fn requests(&self, mark: usize) -> Vec<Request> {
        let mut requests = self.stack.requests().since(mark).unwrap();
        requests.retain(|request| request.by_function() && request.service == "s3");
        let prefix = self.prefix();
        let own = requests.iter().filter(|request| request.path.contains(&prefix));
        let own: BTreeSet<_> = own.map(|request| request.invocation.clone()).collect();
        requests.retain(|request| own.contains(&request.invocation));
        requests
    }

    /// A new machine that trusts the published key.
    pub(crate) async fn client(&self) -> ApkClient {
        self.stack.client(&format!("{}/main", self.name), "x86_64").await.unwrap()
    }

    /// What a new machine sees: `<name>-<version>` of each package of the index, in order.
    pub(crate) async fn available(&self) -> Vec<String> {
        listed(&self.client().await)
    }

    /// Installs a package on a new machine, and returns the content of its version file.
    pub(crate) async fn install(&self, name: &str) -> String {
        let client = self.client().await;
        let update = client.update().unwrap();
        assert!(update.status.success(), "{update}");
        let add = client.add(&[name]).unwrap();
        assert!(add.status.success(), "{add}");
        let path = client.root().join(format!("usr/share/{name}/version"));
        std::fs::read_to_string(path).unwrap()
    }
}

/// Publishes a package to `3.22/main` of a stack that only one story uses.
pub(crate) async fn publish(stack: &Stack, name: &str) {
    let package = PackageSpec::new(name, "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = package.key("3.22/main/x86_64");
    assert_succeeded(&stack.upload(&key, package.bytes).await.unwrap());
}

/// What a machine sees after an update: `<name>-<version>` of each package of the index, in order.
pub(crate) fn listed(client: &ApkClient) -> Vec<String> {
    let update = client.update().unwrap();
    assert!(update.status.success(), "{update}");
    let list = client.list().unwrap();
    let mut names: Vec<_> =
        list.text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    names.sort();
    names
}

pub(crate) fn assert_succeeded(execution: &Execution) {
    assert_eq!(execution.status, ExecutionStatus::Succeeded, "{execution:#?}");
}
