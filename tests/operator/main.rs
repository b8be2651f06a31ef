//! Stories about the operator's command on the local stack, checked with the command itself and
//! with the real apk.

#![cfg(test)]

mod adb;
mod embedded;
mod executions;
mod fixture;
mod keys;
mod life;
mod packages;
mod page;
mod quotas;
mod readers;
mod repair;
