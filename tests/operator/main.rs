//! Stories about the operator's command: on the local stack, told by the command itself and by the
//! real apk.

#![cfg(test)]

mod embedded;
mod executions;
mod fixture;
mod keys;
mod packages;
mod quotas;
mod repair;
