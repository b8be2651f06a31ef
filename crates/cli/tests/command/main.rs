//! The command without AWS: what it prints, what it writes, and how it ends.

#![cfg(test)]

mod credentials;
mod help;
mod index;
mod inspect;
mod keygen;
mod places;
mod setup;
mod support;
