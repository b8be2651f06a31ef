//! The bucket as one invocation of a function sees it: every request waits to be let through,
//! before it takes effect and again before it is answered.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use alpinist_repository::{
    memory::MemoryStore,
    port::{
        Attributes, Directory, ETag, ListedObject, NewObject, Object, ObjectBody, ObjectInfo,
        ObjectStore, Precondition, Sought, StoreError,
    },
};
use bytes::Bytes;
use fastrand::Rng;
use futures::FutureExt as _;

use crate::fault::Tampering;

/// The methods of the port.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Method {
    Head,
    Get,
    Put,
    Delete,
    Copy,
    List,
}

/// A request. A listing is one for each part of the keys.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) key: String,
    pub(crate) part: usize,
    pub(crate) is_conditional: bool,
}

/// Where a request can be held.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Moment {
    Before,
    After,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Injected {
    Served,
    /// It has no effect and fails.
    Unavailable,
    /// S3 answers 409, because another write to the key is under way.
    Conflict,
    /// It takes effect, and the answer is lost.
    Lost,
    /// It takes effect, the answer is lost, and the client sends it again.
    Repeated,
}

/// What happens to a request that is let through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage {
    pub(crate) injected: Injected,
    /// Decides whatever else is random.
    pub(crate) dice: u64,
}

/// What a request did.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) request: Request,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// It took effect on the object of this version, or on none.
    Done(Option<ETag>),
    Conflict,
    Unavailable,
}

/// The requests of one invocation that wait to be let through, and what those did that were. They
/// are sorted, since we do not control the order of requests that an invocation sends at the same
/// time.
#[derive(Clone, Default)]
pub(crate) struct Line(Arc<Mutex<LineState>>);

#[derive(Default)]
struct LineState {
    waiting: BTreeMap<(Request, Moment), Waker>,
    passing: BTreeMap<(Request, Moment), Passage>,
    effects: Vec<Effect>,
}

impl Line {
    /// Returns the requests that wait.
    pub(crate) fn waiting(&self) -> Vec<(Request, Moment)> {
        self.lock().waiting.keys().cloned().collect()
    }

    /// Lets a request through.
    pub(crate) fn open(&self, gate: (Request, Moment), passage: Passage) {
        let mut state = self.lock();
        let waker = state.waiting.remove(&gate).expect("the request waits");
        state.passing.insert(gate, passage);
        waker.wake();
    }

    /// Returns what requests have done since the last call.
    pub(crate) fn take_effects(&self) -> Vec<Effect> {
        mem::take(&mut self.lock().effects)
    }

    async fn pass(&self, request: &Request, moment: Moment) -> Passage {
        let gate = (request.clone(), moment);
        poll_fn(|context| {
            let mut state = self.lock();
            if let Some(passage) = state.passing.remove(&gate) {
                return Poll::Ready(passage);
            }
            state.waiting.insert(gate.clone(), context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn note(&self, request: &Request, outcome: Outcome) {
        self.lock().effects.push(Effect { request: request.clone(), outcome });
    }

    fn lock(&self) -> MutexGuard<'_, LineState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bucket as one invocation sees it.
#[derive(Clone)]
pub(crate) struct SimulatedStore {
    pub(crate) bucket: MemoryStore,
    pub(crate) line: Line,
    pub(crate) tampering: Tampering,
}

impl SimulatedStore {
    async fn request<T>(
        &self,
        request: Request,
        serve: impl Fn() -> Result<T, StoreError>,
        version: impl Fn(&T) -> Option<ETag>,
    ) -> Result<(T, Passage), StoreError> {
        let passage = self.line.pass(&request, Moment::Before).await;
        self.tampering.look(&self.bucket);
        let key = &request.key;
        let serve = || {
            let answer = serve();
            let outcome = match &answer {
                Ok(answer) => Outcome::Done(version(answer)),
                Err(StoreError::Conflict { .. }) => Outcome::Conflict,
                Err(_) => Outcome::Unavailable,
            };
            self.line.note(&request, outcome);
            answer
        };
        let mut answer = match passage.injected {
            Injected::Served | Injected::Lost | Injected::Repeated => serve(),
            Injected::Unavailable => {
                self.line.note(&request, Outcome::Unavailable);
                Err(unavailable(key))
            }
            Injected::Conflict => {
                self.line.note(&request, Outcome::Conflict);
                Err(StoreError::Conflict { key: key.clone() })
            }
        };
        self.line.pass(&request, Moment::After).await;
        if passage.injected == Injected::Repeated {
            answer = serve();
            self.line.pass(&request, Moment::After).await;
        }
        Ok((answer?, passage))
    }
}

fn unavailable(key: &str) -> StoreError {
    StoreError::Unavailable { key: key.to_owned(), source: "simulated".into() }
}

/// Fails if the answer was lost.
fn received<T>(key: &str, (answer, passage): (T, Passage)) -> Result<T, StoreError> {
    if passage.injected == Injected::Lost { Err(unavailable(key)) } else { Ok(answer) }
}

fn request(method: Method, key: &str) -> Request {
    Request { method, key: key.to_owned(), part: 0, is_conditional: false }
}

/// Runs a request of the bucket in memory, which does not wait.
fn now<T>(request: impl Future<Output = T>) -> T {
    request.now_or_never().expect("memory does not wait")
}

/// Content in one or two chunks, which ends in a failure if the transfer breaks off.
pub(crate) struct SimulatedBody {
    key: String,
    chunks: Vec<Bytes>,
    breaks_off: bool,
}

impl ObjectBody for SimulatedBody {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self.chunks.pop() {
            None if self.breaks_off => Err(unavailable(&self.key)),
            chunk => Ok(chunk),
        }
    }
}

impl ObjectStore for SimulatedStore {
    type Body = SimulatedBody;

    fn now(&self) -> i64 {
        self.bucket.now()
    }

    async fn wait_a_second(&self) {
        self.bucket.wait_a_second().await;
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        let serve = || Ok(self.tampering.info(&self.bucket, key, now(self.bucket.head(key))?));
        let version = |info: &Option<ObjectInfo>| info.as_ref().map(|info| info.etag.clone());
        let answer = self.request(request(Method::Head, key), serve, version).await?;
        received(key, answer)
    }

    async fn get(&self, key: &str) -> Result<Option<Object<SimulatedBody>>, StoreError> {
        let serve = || {
            let Some(Object { info, mut body }) = now(self.bucket.get(key))? else {
                return Ok(None);
            };
            let content = now(body.next())?;
            Ok(content.map(|content| (info, self.tampering.content(&self.bucket, key, content))))
        };
        let version = |answer: &Option<(ObjectInfo, Bytes)>| {
            answer.as_ref().map(|(info, _)| info.etag.clone())
        };
        let (answer, passage) = self.request(request(Method::Get, key), serve, version).await?;
        let breaks_off = passage.injected == Injected::Lost;
        let Some((info, mut content)) = answer.filter(|_| !breaks_off || passage.dice % 2 == 0)
        else {
            return received(key, (None, passage));
        };
        let rest =
            content.split_off(usize::try_from(passage.dice).unwrap_or(0) % (content.len() + 1));
        let chunks = if breaks_off { vec![content] } else { vec![rest, content] };
        Ok(Some(Object { info, body: SimulatedBody { key: key.to_owned(), chunks, breaks_off } }))
    }

    async fn put(
        &self,
        key: &str,
        object: NewObject,
        precondition: Precondition,
    ) -> Result<ETag, StoreError> {
        let is_conditional = precondition != Precondition::None;
        let precondition = self.tampering.precondition(key, precondition);
        let object = self.tampering.object(key, object);
        let serve = || {
            let unwritten = || Ok(ETag("\"unwritten\"".to_owned()));
            if self.tampering.is_unwritten(key, &object) {
                return unwritten();
            }
            match now(self.bucket.put(key, object.clone(), precondition.clone())) {
                Err(StoreError::Conflict { .. }) if self.tampering.hides_conflicts(key) => {
                    unwritten()
                }
                written => written,
            }
        };
        let request = Request { is_conditional, ..request(Method::Put, key) };
        let answer = self.request(request, serve, |etag| Some(etag.clone())).await?;
        self.tampering.written(&self.bucket, key);
        received(key, answer)
    }

    async fn delete(&self, key: &str, seen: &ETag) -> Result<(), StoreError> {
        let request = Request { is_conditional: true, ..request(Method::Delete, key) };
        let serve = || now(self.bucket.delete(key, seen));
        let answer = self.request(request, serve, |()| None).await?;
        received(key, answer)
    }

    async fn copy(
        &self,
        source: &str,
        seen: &ETag,
        target: &str,
        attributes: Attributes,
    ) -> Result<(), StoreError> {
        let request = Request { is_conditional: true, ..request(Method::Copy, target) };
        let serve = || now(self.bucket.copy(source, seen, target, attributes.clone()));
        let answer = self.request(request, serve, |()| None).await?;
        received(target, answer)
    }

    async fn directory(&self, prefix: &str, sought: Sought) -> Result<Directory, StoreError> {
        let serve = || now(self.bucket.directory(prefix, sought));
        let answer = self.request(request(Method::List, prefix), serve, |_| None).await?;
        received(prefix, answer)
    }

    /// Lists the keys in up to three parts, each at its own moment.
    async fn list(
        &self,
        prefix: &str,
        split_points: &[String],
    ) -> Result<Vec<ListedObject>, StoreError> {
        let mut listed = Vec::new();
        let mut parts = 1;
        let mut part = 0;
        let mut dice = 0;
        while part < parts {
            let serve = || Ok(self.tampering.listing(&self.bucket, prefix, split_points));
            let request = Request { part, ..request(Method::List, prefix) };
            let answer = self.request(request, serve, |_| None).await?;
            if part == 0 {
                dice = answer.1.dice;
                parts = 1 + usize::try_from(dice % 3).unwrap_or(0);
            }
            let objects = received(prefix, answer)?;
            listed.extend(
                objects.into_iter().filter(|object| part_of(&object.key, dice, parts) == part),
            );
            part += 1;
        }
        Ok(listed)
    }
}

/// Returns in which part of a listing a key is.
fn part_of(key: &str, dice: u64, parts: usize) -> usize {
    let seed = key.bytes().fold(dice, |seed, byte| seed.rotate_left(7) ^ u64::from(byte));
    Rng::with_seed(seed).usize(..parts)
}
