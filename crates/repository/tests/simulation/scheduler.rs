//! Runs one history: decides at each step who continues, and what becomes of the request.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use alpinist_repository::{
    failure::{Failure, FailureKind},
    location::Derived,
    memory::MemoryStore,
    message::{Reindex, RejectionReport, Target},
    page::REPOSITORIES,
    port::ObjectStore as _,
    step::{HealRequest, Healed, Message},
};
use fastrand::Rng;
use futures::FutureExt as _;

use crate::{
    common::{
        INDEX, Keys,
        execution::{Next, State},
        target,
    },
    fault::{Fault, Tampering, is_covered_by_name, snapshot_key},
    oracle::{Oracle, Violation, Watched},
    scenario::{self, ADB, Meddling, Operation, PACKAGES, Pace, Plan, pick},
    store::{Injected, Line, Method, Moment, Outcome, Passage, Request, SimulatedStore},
    trace::Trace,
};

/// More steps than any history that ends needs.
const MAX_STEPS: usize = 20_000;
/// More waits than any execution needs.
const MAX_WAITS: u32 = 60;
/// The delay of events about derived objects, in seconds.
const EVENT_DELAY: u64 = 20;
/// How long a function may run, in seconds.
const TIME_LIMIT: u64 = 120;
/// How often the state machine retries after a temporary failure, and after a crash.
const MAX_RETRIES: u32 = 8;
const MAX_CRASHES: u32 = 2;

/// The result of a history.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) steps: usize,
    pub(crate) executions: usize,
    pub(crate) publications: usize,
    /// Those of an index of format v3.
    pub(crate) adb_publications: usize,
    /// Snapshots whose makers checked only one package.
    pub(crate) looks: usize,
    /// Indexes whose snapshot had been replaced when they were published.
    pub(crate) overtaken: usize,
    /// Histories in which such an index stayed, since its publisher died just then.
    pub(crate) stayed: usize,
    pub(crate) waits: usize,
    pub(crate) crashes: usize,
    /// Those after `Packages.adb`, `packages.adb` and `index.json`, before the next object was
    /// written.
    pub(crate) torn: [usize; 3],
    pub(crate) rejections: usize,
    /// How often a publication has told the page something.
    pub(crate) told: usize,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.executions += other.executions;
        self.publications += other.publications;
        self.adb_publications += other.adb_publications;
        self.looks += other.looks;
        self.overtaken += other.overtaken;
        self.stayed += other.stayed;
        self.waits += other.waits;
        self.crashes += other.crashes;
        for (torn, other) in self.torn.iter_mut().zip(other.torn) {
            *torn += other;
        }
        self.rejections += other.rejections;
        self.told += other.told;
    }

    /// Returns whether everything happened that a search must cover.
    pub(crate) fn has_everything(&self) -> bool {
        let Self { publications, adb_publications, looks, overtaken, .. } = *self;
        let Self { waits, crashes, rejections, told, torn, .. } = *self;
        let counts = [publications, adb_publications, looks, overtaken, waits, crashes];
        counts.iter().chain(&[rejections, told]).chain(&torn).all(|&count| count > 0)
    }
}

/// Runs the history of a seed.
pub(crate) fn simulate(seed: u64, fault: Option<Fault>) -> Result<Report, Violation> {
    Simulation::new(seed, fault, Trace::default()).run()
}

/// Runs the history of a seed, and returns what happened in it.
pub(crate) fn trace(seed: u64, fault: Option<Fault>) -> String {
    let mut simulation = Simulation::new(seed, fault, Trace::written());
    let outcome = simulation.run();
    format!("{}\n{outcome:?}", simulation.trace.into_text())
}

struct Simulation {
    rng: Rng,
    plan: Plan,
    fault: Option<Fault>,
    bucket: MemoryStore,
    oracle: Oracle,
    operations: VecDeque<Operation>,
    executions: Vec<Execution>,
    zombies: Vec<Invocation>,
    /// The messages for the healer, and when they are due.
    events: VecDeque<(u64, Message)>,
    /// The reindexes, each with the executions that it still waits for.
    reindexes: Vec<BTreeSet<usize>>,
    /// Who goes first.
    priorities: BTreeMap<Actor, u32>,
    step: usize,
    /// The bucket before the last change.
    backup: Option<MemoryStore>,
    /// How much time has passed, in seconds; writes take some more.
    now: u64,
    /// Whether everything goes well from now on.
    is_calm: bool,
    needs_repair: bool,
    report: Report,
    trace: Trace,
}

/// Who can continue.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Actor {
    Uploader,
    /// The queue of events about derived objects, whoever wrote them.
    Queue,
    Execution(usize),
    Ghost(usize),
}

struct Execution {
    /// The key of its package or index, or its name.
    key: String,
    /// The step in which it was started.
    began: usize,
    /// The reindex that it is part of.
    reindex: Option<usize>,
    phase: Phase,
    retries: u32,
    crashes: u32,
    waits: u32,
    /// When it read the package.
    package_read: Option<usize>,
}

enum Phase {
    /// Ready to run this state at this time.
    Ready(u64, Box<State>),
    Running(Box<Invocation>),
    Over,
}

/// One run of a function.
struct Invocation {
    number: usize,
    state: State,
    /// When it began.
    began: u64,
    future: Pin<Box<dyn Future<Output = Result<Next, Failure>>>>,
    line: Line,
    watched: Watched,
}

impl Simulation {
    fn new(seed: u64, fault: Option<Fault>, trace: Trace) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::new(&mut rng);
        let bucket = if plan.is_foreign {
            scenario::foreign_bucket(plan.beginning)
        } else {
            scenario::bucket(plan.beginning)
        };
        if plan.has_page {
            scenario::put_list(&bucket, plan.is_foreign);
        }
        let mut oracle = Oracle::new(&bucket, plan.beginning);
        if plan.is_foreign {
            oracle.meddled();
        }
        let operations = plan.operations.clone().into();
        let mut simulation = Self {
            rng,
            plan,
            fault,
            bucket,
            oracle,
            operations,
            executions: Vec::new(),
            zombies: Vec::new(),
            events: VecDeque::new(),
            reindexes: Vec::new(),
            priorities: BTreeMap::new(),
            step: 0,
            now: 0,
            is_calm: false,
            needs_repair: false,
            backup: None,
            report: Report::default(),
            trace,
        };
        simulation.trace.say(0, "plan", || format!("{:?}", simulation.plan));
        simulation
    }

    fn run(&mut self) -> Result<Report, Violation> {
        self.run_until_quiet()?;
        let has_deaths = self.needs_repair || !self.zombies.is_empty();
        self.report.stayed = usize::from(self.oracle.quiet(has_deaths)?);
        if self.needs_repair {
            self.repair()?;
        }
        self.oracle.end(&self.bucket)?;
        self.report.steps = self.step;
        self.report.executions = self.executions.len();
        self.report.publications = self.oracle.publications;
        self.report.adb_publications = self.oracle.adb_publications;
        self.report.looks = self.oracle.looks;
        self.report.overtaken = self.oracle.overtaken;
        self.report.told = self.oracle.told;
        Ok(self.report)
    }

    /// Runs the scheduled check once, which finds whatever is wrong.
    fn repair(&mut self) -> Result<(), Violation> {
        self.say("repair", String::new);
        self.is_calm = true;
        self.pass(3600);
        let bucket = target("").bucket;
        self.launch(
            "check",
            State::Heal(HealRequest::Check { bucket, prefix: String::new() }),
            None,
        );
        self.run_until_quiet()
    }

    fn run_until_quiet(&mut self) -> Result<(), Violation> {
        while let Some(actor) = self.next_actor() {
            self.step += 1;
            if self.step > MAX_STEPS {
                return Err(Violation("every history comes to an end".to_owned()));
            }
            if self.rng.u32(..1000) < self.plan.jumps && !self.is_calm {
                let time = self.rng.u64(20..4000);
                self.pass(time);
            }
            match actor {
                Actor::Uploader => self.operate(),
                Actor::Queue => self.deliver(),
                Actor::Execution(number) => self.go_on(number)?,
                Actor::Ghost(number) => self.haunt(number)?,
            }
        }
        Ok(())
    }

    /// Returns the first in line of those that can continue, and often changes the order
    /// afterwards.
    fn next_actor(&mut self) -> Option<Actor> {
        let is_waiting = |it: &Execution| matches!(it.phase, Phase::Ready(at, _) if at > self.now);
        let is_over = |it: &Execution| matches!(it.phase, Phase::Over);
        let done = self.plan.operations.len() - self.operations.len();
        let in_turn = self.plan.pace == Pace::InTurn && done >= 2 && !self.operations.is_empty();
        let is_at_work = self.executions.iter().any(|it| !is_over(it) && !is_waiting(it));
        let uploader =
            (!(self.operations.is_empty() || in_turn && is_at_work)).then_some(Actor::Uploader);
        let executions = self.executions.iter().enumerate();
        let executions = executions
            .filter(|(_, it)| !(is_over(it) || in_turn && is_waiting(it)))
            .map(|(number, _)| Actor::Execution(number));
        let zombies = (0..self.zombies.len()).map(Actor::Ghost);
        let queue = (!self.events.is_empty()).then_some(Actor::Queue);
        let actors = uploader.into_iter().chain(queue).chain(executions).chain(zombies);
        let actors: Vec<_> = actors.collect();
        for &actor in &actors {
            let rng = &mut self.rng;
            self.priorities.entry(actor).or_insert_with(|| rng.u32(..));
        }
        let first = actors.into_iter().max_by_key(|actor| self.priorities[actor])?;
        if self.rng.u32(..self.plan.patience) == 0 {
            self.priorities.insert(first, self.rng.u32(..));
        }
        Some(first)
    }

    fn pass(&mut self, seconds: u64) {
        if seconds == 0 {
            return;
        }
        self.now += seconds;
        self.bucket.pass(Duration::from_secs(seconds));
        self.say("clock", || format!("{seconds} s pass"));
    }

    fn operate(&mut self) {
        let Some(operation) = self.operations.pop_front() else { return };
        match operation {
            Operation::Change { package, content } => {
                self.backup = Some(self.bucket.duplicate());
                self.oracle.backed_up();
                let key = PACKAGES[package].key.clone();
                let content_name = content.map(|content| PACKAGES[package].contents[content].name);
                self.say("uploader", || format!("{key}: {}", content_name.unwrap_or("deleted")));
                match content {
                    Some(content) => {
                        let bytes = PACKAGES[package].contents[content].bytes.clone();
                        self.bucket.upload(&key, bytes);
                    }
                    None => self.bucket.remove(&key),
                }
                self.oracle.changed(self.step, package, content);
                let mut events = *pick(&mut self.rng, &[1, 1, 1, 1, 2]);
                if self.plan.drops_events && self.rng.u32(..4) == 0 {
                    events = 0;
                    self.needs_repair = true;
                }
                for _ in 0..events {
                    self.start(&key);
                }
            }
            Operation::Rebuild => self.start(INDEX),
            Operation::CopyBack(object) => {
                let Some(before) = self.backup.take() else { return };
                self.say("meddler", || match object {
                    Some(object) => format!("copies {object:?} back"),
                    None => "copies back the snapshot and all that is published".to_owned(),
                });
                // Within seconds of a publication, ages do not tell who wrote what.
                self.pass(30);
                let published = || [INDEX].into_iter().chain(ADB).map(str::to_owned);
                let keys = match object {
                    Some(object) => object.keys(&self.bucket),
                    None => [snapshot_key()].into_iter().chain(published()).collect(),
                };
                for key in keys {
                    self.bucket.copy_back(&key, &before);
                    self.oracle.copied_back(&self.bucket, &key);
                    self.tell_healer(&key);
                }
            }
            Operation::Meddle { object, content } => {
                self.say("meddler", || format!("{object:?} {}", content.unwrap_or("deleted")));
                // No events report leases.
                self.needs_repair |= matches!(object, Meddling::Leases);
                for key in object.keys(&self.bucket) {
                    match content {
                        Some(content) => self.bucket.upload(&key, content),
                        None => self.bucket.remove(&key),
                    }
                    self.oracle.meddled_with(&self.bucket, &key);
                    self.tell_healer(&key);
                }
            }
        }
    }

    /// Queues an event if an object is derived.
    fn tell_healer(&mut self, key: &str) {
        if key.parse::<Derived>().is_err() || self.fault == Some(Fault::HealerDeaf) {
            return;
        }
        if self.plan.drops_events && !self.is_calm && self.rng.u32(..8) == 0 {
            self.needs_repair = true;
            return;
        }
        let written = self.bucket.head(key).now_or_never().expect("memory does not wait").unwrap();
        let (kind, etag) = match written {
            Some(object) => ("Object Created", object.etag.0.trim_matches('"').to_owned()),
            None => ("Object Deleted", String::new()),
        };
        let body = format!(
            r#"{{"detail-type":"{kind}","detail":{{"bucket":{{"name":"bucket"}},"object":{{"key":"{key}","etag":"{etag}"}}}}}}"#
        );
        self.events.push_back((self.now + EVENT_DELAY, Message { body }));
    }

    /// Hands the due events to the healer.
    fn deliver(&mut self) {
        let Some(&(due, _)) = self.events.front() else { return };
        self.pass(due.saturating_sub(self.now));
        let mut records = Vec::new();
        while let Some((_, message)) = self.events.pop_front_if(|(due, _)| *due <= self.now) {
            records.push(message);
        }
        self.launch("events", State::Heal(HealRequest::Messages { records }), None);
    }

    /// Starts what the healer asks for.
    fn heal(&mut self, healed: Healed) {
        for key in healed.executions {
            self.start(&key);
        }
        for prefix in healed.reindexes {
            let number = self.reindexes.len();
            if self.reindexes.last().is_some_and(|running| !running.is_empty()) {
                continue;
            }
            self.say("reindex", || prefix.clone());
            self.reindexes.push(BTreeSet::new());
            for key in self.bucket.keys() {
                if key.starts_with(&prefix) && key.ends_with(".apk") {
                    let execution = self.launch(&key, reindex_of(&key, number), Some(number));
                    self.reindexes[number].insert(execution);
                }
            }
            self.go_on_with_reindex(number, None);
        }
    }

    /// Makes the index once all packages of a reindex have been processed.
    fn go_on_with_reindex(&mut self, number: usize, ended: Option<usize>) {
        let is_index = ended.is_some_and(|ended| self.executions[ended].key == INDEX);
        if let Some(ended) = ended {
            self.reindexes[number].remove(&ended);
        }
        if self.reindexes[number].is_empty() && !is_index {
            let execution = self.launch(INDEX, reindex_of(INDEX, number), Some(number));
            self.reindexes[number].insert(execution);
        }
    }

    fn start(&mut self, key: &str) {
        self.launch(key, State::Extract(target(key)), None);
    }

    fn launch(&mut self, key: &str, state: State, reindex: Option<usize>) -> usize {
        let number = self.executions.len();
        self.say("event", || format!("execution {number} for {key}"));
        self.executions.push(Execution {
            key: key.to_owned(),
            began: self.step,
            reindex,
            phase: Phase::Ready(0, Box::new(state)),
            retries: 0,
            crashes: 0,
            waits: 0,
            package_read: None,
        });
        number
    }

    /// Lets an execution begin its next task, or make its next request.
    fn go_on(&mut self, number: usize) -> Result<(), Violation> {
        let phase = mem::replace(&mut self.executions[number].phase, Phase::Over);
        let mut invocation = match phase {
            Phase::Over => return Ok(()),
            Phase::Ready(at, state) => {
                self.pass(at.saturating_sub(self.now));
                if self.rng.u32(..2) < self.plan.pauses {
                    let seconds = self.rng.u64(..6);
                    self.pass(seconds);
                }
                self.say_of(number, || format!("{} begins", state.name()));
                self.invoke(number, *state)
            }
            Phase::Running(invocation) if self.is_out_of_time(&invocation) => {
                self.kill(number, *invocation);
                return Ok(());
            }
            Phase::Running(invocation) if self.happens(self.plan.crashes) => {
                self.crash(number, invocation);
                return Ok(());
            }
            Phase::Running(invocation) => {
                self.pass_gate(&invocation);
                invocation
            }
        };
        match self.advance(&mut invocation)? {
            None => self.executions[number].phase = Phase::Running(invocation),
            Some(outcome) => self.follow(number, *invocation, outcome)?,
        }
        Ok(())
    }

    /// Lets a function continue whose result nobody waits for.
    fn haunt(&mut self, number: usize) -> Result<(), Violation> {
        let mut zombie = self.zombies.remove(number);
        if self.is_out_of_time(&zombie) {
            return Ok(());
        }
        self.pass_gate(&zombie);
        if self.advance(&mut zombie)?.is_none() {
            self.zombies.insert(number, zombie);
        }
        Ok(())
    }

    fn invoke(&self, execution: usize, state: State) -> Box<Invocation> {
        let line = Line::default();
        let tampering = Tampering::new(self.fault, &state);
        let bucket = self.bucket.clone();
        let store = SimulatedStore { bucket: bucket.clone(), line: line.clone(), tampering };
        let mut task = state.clone();
        let fault = self.fault;
        if let (Some(Fault::CrowdUnseen), State::Aggregate(request)) = (fault, &mut task) {
            request.waiting = None;
        }
        let future = async move {
            if let (Some(Fault::CoveredByName), State::Aggregate(request)) = (fault, &task)
                && is_covered_by_name(&bucket, request).await
            {
                return Ok(Next::End(None));
            }
            task.run(&store, &Keys::good()).await
        };
        let watched = Watched::new(state.clone());
        let future = Box::pin(future);
        Box::new(Invocation { number: execution, state, began: self.now, future, line, watched })
    }

    fn happens(&mut self, of_thousand: u32) -> bool {
        !self.is_calm && self.rng.u32(..1000) < of_thousand
    }

    /// Lets one of the waiting requests through.
    fn pass_gate(&mut self, invocation: &Invocation) {
        let waiting = invocation.line.waiting();
        let gate = pick(&mut self.rng, &waiting).clone();
        let is_list = gate.0.method == Method::Put && gate.0.key == REPOSITORIES;
        if is_list && gate.1 == Moment::Before && self.rng.bool() {
            self.say("elsewhere", || "another directory gets its first index".to_owned());
            self.oracle.publish_elsewhere(&self.bucket);
        }
        let injected =
            if gate.1 == Moment::Before { self.injected(&gate.0) } else { Injected::Served };
        let passage = Passage { injected, dice: self.rng.u64(..) };
        if gate.1 == Moment::Before && injected != Injected::Served {
            self.say_of(invocation.number, || format!("  {injected:?}:"));
        }
        invocation.line.open(gate, passage);
    }

    fn injected(&mut self, request: &Request) -> Injected {
        let is_conditional_write = request.is_conditional;
        if self.happens(self.plan.failures) {
            let fates = [Injected::Unavailable, Injected::Lost, Injected::Repeated];
            return *pick(&mut self.rng, &fates);
        }
        if is_conditional_write && self.happens(self.plan.conflicts) {
            return Injected::Conflict;
        }
        Injected::Served
    }

    /// Runs an invocation until its requests are held, or until it ends, and returns its result
    /// then.
    fn advance(
        &mut self,
        invocation: &mut Invocation,
    ) -> Result<Option<Result<Next, Failure>>, Violation> {
        let signal = Arc::new(Signal(AtomicBool::new(true)));
        let waker = Waker::from(signal.clone());
        let mut context = Context::from_waker(&waker);
        let mut outcome = None;
        while outcome.is_none() && signal.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(ended) = invocation.future.as_mut().poll(&mut context) {
                outcome = Some(ended);
            }
        }
        for effect in invocation.line.take_effects() {
            let who = format_args!("execution {}", invocation.number);
            let state = invocation.state.name();
            self.trace.say_effect(self.step, who, state, &self.bucket, &effect);
            self.oracle.effect(self.step, &self.bucket, &mut invocation.watched, &effect)?;
            let is_write = matches!(effect.request.method, Method::Put | Method::Delete);
            if is_write && matches!(effect.outcome, Outcome::Done(_)) {
                self.tell_healer(&effect.request.key);
            }
        }
        Ok(outcome)
    }

    /// Does what the state machine does after a task.
    fn follow(
        &mut self,
        number: usize,
        invocation: Invocation,
        outcome: Result<Next, Failure>,
    ) -> Result<(), Violation> {
        let execution = &mut self.executions[number];
        match outcome {
            Ok(next) => {
                (execution.retries, execution.crashes) = (0, 0);
                match (&invocation.state, &next) {
                    (State::Extract(_), _) => {
                        execution.package_read = invocation.watched.package_read;
                    }
                    (State::Write(_), Next::Go(State::Aggregate(request))) => {
                        self.oracle.wrote(&invocation.watched, &request.written)?;
                    }
                    (State::Aggregate(request), Next::Go(State::Extract(_))) => {
                        self.oracle.started_over(&self.bucket, &request.written)?;
                    }
                    _ => {}
                }
                self.enter(number, next)
            }
            Err(failure) if failure.kind() == FailureKind::Unavailable => {
                execution.retries += 1;
                let is_retried = execution.retries <= MAX_RETRIES;
                self.say_of(number, || format!("failed: {}", failure.report()));
                self.recover(number, invocation.state, is_retried);
                Ok(())
            }
            // Some of its packages could not be processed.
            Err(Failure::Unadopted { .. }) if self.executions[number].reindex.is_some() => {
                self.needs_repair = true;
                self.enter(number, Next::End(None))
            }
            Err(failure) => {
                let state = invocation.state.name();
                Err(Violation(format!(
                    "no execution fails for good: {state}: {}",
                    failure.report()
                )))
            }
        }
    }

    fn enter(&mut self, number: usize, next: Next) -> Result<(), Violation> {
        let now = self.now;
        let execution = &mut self.executions[number];
        match next {
            Next::Go(state) => execution.phase = Phase::Ready(now, Box::new(state)),
            Next::Wait(state) => {
                execution.waits += 1;
                self.report.waits += 1;
                if execution.waits > MAX_WAITS {
                    return Err(Violation("no execution waits for ever".to_owned()));
                }
                let overtook = matches!(&state, State::Aggregate(request)
                    if request.waiting.as_ref().is_some_and(|waiting| waiting.overtook));
                let is_unadopted = matches!(&state, State::Aggregate(request)
                    if request.waiting.as_ref().is_some_and(|waiting| waiting.unknown > 0));
                if is_unadopted {
                    // It waits for a reindex, which takes many steps of others.
                    self.priorities.insert(Actor::Execution(number), 0);
                }
                let seconds = if overtook { 150 } else { self.rng.u64(1..=40) };
                execution.phase = Phase::Ready(now + seconds, Box::new(state));
                self.say_of(number, || format!("waits for {seconds} s"));
            }
            Next::Start(healed) => self.heal(healed),
            Next::End(rejection) => {
                let (key, read) = (execution.key.clone(), execution.package_read);
                let began = execution.began;
                if let Some(reindex) = execution.reindex {
                    self.go_on_with_reindex(reindex, Some(number));
                    return Ok(());
                }
                self.say_of(number, || match &rejection {
                    Some(RejectionReport { cause, .. }) => format!("ends: {cause}"),
                    None => "ends".to_owned(),
                });
                self.report.rejections += usize::from(rejection.is_some());
                self.oracle.ended(self.step, &key, began, read, rejection.is_some())?;
            }
        }
        Ok(())
    }

    fn is_out_of_time(&self, invocation: &Invocation) -> bool {
        self.now > invocation.began + TIME_LIMIT
    }

    /// Ends a function that ran out of time.
    fn kill(&mut self, number: usize, invocation: Invocation) {
        let execution = &mut self.executions[number];
        execution.crashes += 1;
        self.report.crashes += 1;
        let is_retried = execution.crashes <= MAX_CRASHES;
        self.count_torn(&invocation);
        self.say_of(number, || "runs out of time".to_owned());
        self.recover(number, invocation.state, is_retried);
    }

    /// Kills a function, or cuts the connection to it.
    fn crash(&mut self, number: usize, invocation: Box<Invocation>) {
        let execution = &mut self.executions[number];
        execution.crashes += 1;
        self.report.crashes += 1;
        let is_retried = execution.crashes <= MAX_CRASHES;
        let state = invocation.state.clone();
        let lives_on = self.plan.haunted && self.rng.bool();
        self.say_of(number, || {
            format!("crashes{}", if lives_on { " and goes on in the background" } else { "" })
        });
        if lives_on {
            // Nobody notices if it finds that it must start over.
            self.needs_repair = true;
            self.zombies.push(*invocation);
        } else {
            self.count_torn(&invocation);
        }
        self.recover(number, state, is_retried);
    }

    fn count_torn(&mut self, invocation: &Invocation) {
        if let Some(object) = invocation.watched.torn_after(&self.bucket) {
            self.report.torn[object] += 1;
        }
    }

    /// Retries, redrives, or gives up.
    fn recover(&mut self, number: usize, state: State, is_retried: bool) {
        let is_redriven = self.rng.u32(..4) > 0;
        let at = if is_retried && is_redriven {
            self.now + self.rng.u64(1..60)
        } else if self.is_calm || is_redriven || self.rng.bool() {
            self.now + self.rng.u64(60..7200)
        } else {
            self.say_of(number, || "is dead".to_owned());
            self.needs_repair = true;
            if let Some(reindex) = self.executions[number].reindex {
                self.oracle.reindexed_without();
                self.go_on_with_reindex(reindex, Some(number));
            }
            return;
        };
        let execution = &mut self.executions[number];
        if !is_retried {
            (execution.retries, execution.crashes) = (0, 0);
        }
        execution.phase = Phase::Ready(at, Box::new(state));
    }

    fn say(&mut self, who: impl fmt::Display, what: impl FnOnce() -> String) {
        self.trace.say(self.step, who, what);
    }

    fn say_of(&mut self, execution: usize, what: impl FnOnce() -> String) {
        self.say(format_args!("execution {execution}"), what);
    }
}

/// The first state of a package or an index in a reindex.
fn reindex_of(key: &str, number: usize) -> State {
    let run = format!("heal-{number}");
    let reindex = Some(Reindex { run, only_stale: true, sign: false });
    State::Extract(Target { reindex, ..target(key) })
}

struct Signal(AtomicBool);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
