//! Many jobs at once, under the request quotas of AWS.

use std::thread;

use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec};

use crate::fixture::Operator;

const JOBS: usize = 20;
const PACKAGES: usize = 15;

#[tokio::test]
async fn twenty_jobs_of_fifteen_packages_see_all_of_them_published() {
    let options = EmulatorOptions { has_quotas: true, ..EmulatorOptions::default() };
    let local_stack = LocalStack::start(options).unwrap();
    let stack = local_stack.deploy_as("quotas", &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let operator = Operator::of(&stack);
    let packages =
        PackageSpec::new("many", "1.0").build_series(&operator.tools, JOBS * PACKAGES).unwrap();
    for (job, packages) in packages.chunks(PACKAGES).enumerate() {
        for package in packages {
            package.save(&operator.path().join(format!("{job}/quotas/main/x86_64"))).unwrap();
        }
    }
    let mark = stack.requests().mark().unwrap();
    let said = thread::scope(|scope| {
        let jobs = (0..JOBS).map(|job| {
            let directory = operator.path().join(format!("{job}/quotas/main/x86_64"));
            let names = std::fs::read_dir(&directory).unwrap();
            let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
            let arguments = names.collect::<Vec<_>>().join(" ");
            let operator = &operator;
            scope.spawn(move || {
                operator.run_in(&directory, &format!("push {arguments} --to quotas/main --wait"))
            })
        });
        let jobs: Vec<_> = jobs.collect();
        jobs.into_iter().map(|job| job.join().unwrap()).collect::<Vec<_>>()
    });
    for said in said {
        assert_eq!(said.status, Some(0), "{said}");
        assert_eq!(said.out.matches("published quotas/main/x86_64/").count(), PACKAGES, "{said}");
    }
    // A query at the beginning of each job, and some about what took long.
    let requests = stack.requests().since(mark).unwrap();
    let questions = requests.iter().filter(|request| request.service == "states").count();
    assert!(questions < 10 * JOBS, "{questions}");
}
