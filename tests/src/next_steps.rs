//! What to type in another terminal while a local stack is up.

use crate::{ApkClient, LocalStack, Stack, command};

/// Returns instructions for `stack`: settings for the AWS CLI, and commands to make, upload, follow
/// and install a package of the repository `repository`, such as `3.22/main`.
pub fn next_steps(
    local_stack: &LocalStack,
    stack: &Stack,
    client: &ApkClient,
    repository: &str,
) -> String {
    let emulator = local_stack.emulator();
    let settings = emulator.settings().map(|(name, value)| format!("{name}={value}")).join(" ");
    let (bucket, state_machine) = (stack.bucket(), stack.state_machine());
    format!(
        r#"
The stack stays up until Ctrl-C, at {endpoint}. In another terminal:

  export {settings}
  export PATH={programs}:$PATH

  # Make a package and upload it.
  echo '{{"name": "mine", "version": "1.0", "version_schema": "none", "release": "0", "arch": "x86_64", "description": "Mine"}}' > mine.yaml
  nfpm package --config mine.yaml --packager apk --target mine-1.0-r0.apk
  aws s3 cp mine-1.0-r0.apk s3://{bucket}/{repository}/x86_64/

  # Look at the executions, at one of them, and at what a function says.
  aws stepfunctions list-executions --state-machine-arn {state_machine}
  aws stepfunctions describe-execution --execution-arn ARN
  aws logs filter-log-events --log-group-name /aws/lambda/{name}/sign-and-publish

  # Install it.
  {apk} --update-cache add --no-scripts mine
"#,
        endpoint = stack.endpoint(),
        name = stack.name(),
        programs = emulator.tools().programs().display(),
        apk = command::line(&client.command()),
    )
}
