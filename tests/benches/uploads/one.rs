//! One upload into a warm stack.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use alpinist_tests::progress::say;
use alpinist_tests::{Error, Execution, PackageSpec, Stack, StateVisit, Tools};

use crate::{LIMIT, median};

/// The parts that are not spent in a state.
const EVENT: &str = "(upload and event)";
const BETWEEN: &str = "(between states)";

/// Uploads to both sides in turn, and prints how long it takes.
pub(crate) async fn measure(
    tools: &Tools,
    ours: &Stack,
    chain: &Stack,
    times: usize,
) -> Result<(), Error> {
    say(&format!("==> One upload, {times} times on each side"));
    let packages = PackageSpec::new("one", "1.0").build_series(tools, times + 1)?;
    let mut sides =
        [Side::new("Alpinist", ours).await?, Side::new("four empty functions", chain).await?];
    for (number, package) in packages.iter().enumerate() {
        for side in &mut sides {
            let execution = side.upload(&package.key("one/main/x86_64"), &package.bytes).await?;
            // The first one starts the functions.
            if number > 0 {
                side.note(execution);
            }
        }
    }
    println!("\none upload, warm, median of {times}, ms");
    let [ours, chain] = sides.map(Side::print);
    println!("ratio {:.2}, goal 1.50", ours / chain);
    Ok(())
}

/// One of the two sides that are compared.
pub(crate) struct Side<'a> {
    name: &'static str,
    stack: &'a Stack,
    /// How many executions there are.
    executions: usize,
    /// The milliseconds of each whole upload.
    totals: Vec<f64>,
    /// The milliseconds of each upload by state, and the state's position.
    parts: BTreeMap<String, (usize, Vec<f64>)>,
}

impl<'a> Side<'a> {
    pub(crate) async fn new(name: &'static str, stack: &'a Stack) -> Result<Self, Error> {
        let executions = stack.wait_until_idle(0, LIMIT).await?.into_values().sum();
        Ok(Self { name, stack, executions, totals: Vec::new(), parts: BTreeMap::new() })
    }

    /// Uploads a package, and returns when the upload began and how its execution ended.
    ///
    /// The emulator is polled every two seconds, since each response takes time from what is
    /// measured. So no index is of the same second as the previous one.
    pub(crate) async fn upload(
        &mut self,
        key: &str,
        bytes: &[u8],
    ) -> Result<(SystemTime, Execution), Error> {
        self.executions += 1;
        let began = SystemTime::now();
        self.stack.put(key, bytes.to_vec()).await?;
        self.stack.wait_until_idle(self.executions, LIMIT).await?;
        let executions = self.stack.executions(key).await?;
        let reply = || Error::Reply { what: "the executions of", reply: key.to_owned() };
        Ok((began, executions.into_iter().next().ok_or_else(reply)?))
    }

    fn note(&mut self, (began, execution): (SystemTime, Execution)) {
        let event = execution.began.duration_since(began).unwrap_or_default();
        let duration = execution.duration.unwrap_or_default();
        let in_states: Duration = execution.states.iter().filter_map(|visit| visit.duration).sum();
        self.totals.push(milliseconds(event + duration));
        self.add(EVENT, 0, event);
        for (place, StateVisit { name, duration, .. }) in execution.states.iter().enumerate() {
            self.add(name, place + 1, duration.unwrap_or_default());
        }
        self.add(BETWEEN, usize::MAX, duration.saturating_sub(in_states));
    }

    fn add(&mut self, name: &str, place: usize, duration: Duration) {
        let (known, values) = self.parts.entry(name.to_owned()).or_default();
        *known = place;
        values.push(milliseconds(duration));
    }

    fn print(self) -> f64 {
        let total = median(self.totals);
        println!("  {:<22} {total:>7.0}", self.name);
        let mut parts: Vec<_> = self.parts.into_iter().collect();
        parts.sort_by_key(|(_, (place, _))| *place);
        for (name, (_, values)) in parts {
            println!(
                "    {name:<20} {:>7.0}   in {} uploads",
                median(values.clone()),
                values.len()
            );
        }
        total
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
