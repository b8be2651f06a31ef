// Evaluates policies. The argument is a file with {account, requests} in JSON, each request with
// principal, action, resource, policies, resourcePolicy and context; prints the list of answers,
// such as "Allowed".

const fs = require('fs')
const { runSimulation, anonymousPrincipal } = require('@cloud-copilot/iam-simulate')

async function ask(account, { principal, action, resource, policies, resourcePolicy, context }) {
  const named = (policy, index) => ({ name: `${index}`, policy })
  const answer = await runSimulation(
    {
      request: {
        principal: principal ?? anonymousPrincipal,
        action,
        resource: { resource, accountId: account },
        contextVariables: context
      },
      identityPolicies: policies.map(named),
      resourcePolicy,
      serviceControlPolicies: [],
      resourceControlPolicies: []
    },
    {}
  )
  return answer.overallResult ?? answer
}

async function main() {
  const { account, requests } = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))
  const answers = []
  for (const request of requests) answers.push(await ask(account, request))
  console.log(JSON.stringify(answers))
}

main()
