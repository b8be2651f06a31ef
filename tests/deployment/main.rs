//! Checks templates, state machines and functions against each other, with the linters of AWS, and
//! against what the machines there can run.

#![cfg(test)]

mod binaries;
mod ci;
mod definition;
mod documents;
mod edge;
mod errors;
mod expressions;
mod iam;
mod layers;
mod linters;
mod page;
