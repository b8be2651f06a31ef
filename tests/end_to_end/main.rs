//! Stories about Alpinist: the real template on the local stack, checked with the real apk.
//!
//! Each story has its own repository, so that all run side by side on one stack.

#![cfg(test)]

mod adb;
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
