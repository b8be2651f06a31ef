//! Many uploads at once into an empty repository.

use std::time::SystemTime;

use alpinist_tests::progress::say;
use alpinist_tests::{Error, Package, PackageSpec, Stack, Tools};

use crate::{LIMIT, median};

/// How much is uploaded.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// How many packages.
    pub(crate) uploads: usize,
    /// How many at once.
    pub(crate) writers: usize,
    /// How often, on each side.
    pub(crate) bursts: usize,
}

/// Uploads to both sides in turn, and prints how long it takes until all executions have ended.
pub(crate) async fn measure(
    tools: &Tools,
    ours: &Stack,
    chain: &Stack,
    size: Size,
) -> Result<(), Error> {
    let Size { uploads, writers, bursts } = size;
    say(&format!("==> {uploads} uploads by {writers} writers, {bursts} times on each side"));
    let packages = PackageSpec::new("burst", "1.0").build_series(tools, uploads)?;
    let mut seconds = [Vec::new(), Vec::new()];
    for number in 1..=bursts {
        let prefix = format!("burst-{number}/main/x86_64");
        for (side, seconds) in [chain, ours].into_iter().zip(&mut seconds) {
            seconds.push(burst(side, &prefix, &packages, writers).await?);
        }
    }
    let [chain, ours] = seconds.map(median);
    let count = f64::from(u32::try_from(uploads).unwrap_or(u32::MAX));
    println!("\n{uploads} uploads by {writers} writers, median of {bursts}");
    println!("  Alpinist               {ours:>7.1} s   {:>6.1} uploads a second", count / ours);
    println!("  four empty functions   {chain:>7.1} s   {:>6.1} uploads a second", count / chain);
    println!("ratio {:.2}, goal 2.50", ours / chain);
    Ok(())
}

/// Uploads all packages, and returns how many seconds it took until the last execution had ended.
pub(crate) async fn burst(
    stack: &Stack,
    prefix: &str,
    packages: &[Package],
    writers: usize,
) -> Result<f64, Error> {
    let earlier: usize = stack.wait_until_idle(0, LIMIT).await?.into_values().sum();
    let objects = packages.iter().map(|package| (package.key(prefix), package.bytes.clone()));
    let began = SystemTime::now();
    stack.put_all(objects, writers).await?;
    let ends = stack.wait_until_idle(earlier + packages.len(), LIMIT).await?;
    let ended = stack.last_end().await?.unwrap_or(began);
    let seconds = ended.duration_since(began).unwrap_or_default().as_secs_f64();
    say(&format!("    {seconds:.1} s for {}, {ends:?} in all", stack.name()));
    Ok(seconds)
}
