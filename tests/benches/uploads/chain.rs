//! What Alpinist is compared with: an upload, a rule, and a state machine of four functions that
//! return their input. The states are like ours, in the same query language.

use alpinist_tests::{Error, LocalStack, Stack, workspace};

/// Deploys the chain next to our stack, on the same emulator.
pub(crate) fn deploy(local_stack: &LocalStack) -> Result<Stack, Error> {
    let template = workspace::root().join("tests/benches/uploads/chain.yaml");
    local_stack.deploy_other("chain", &template, "empty")
}
