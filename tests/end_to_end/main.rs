//! Stories about Alpinist: the real template on the local stack, told by the real apk.
//!
//! Each story has a repository of its own, so that they run side by side on one stack.

#![cfg(test)]

mod demo;
mod deploying;
mod healing;
mod hostile;
mod keys;
mod packages;
mod publication;
mod races;
mod reindex;
mod rejections;
mod replay;
mod repository;
mod roles;
mod signatures;
mod telemetry;
mod walls;
