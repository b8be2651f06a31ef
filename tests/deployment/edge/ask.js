// Appended to the function: asks it each of these requests, and prints what it answers.
(async function () {
    const requests = REQUESTS;
    for (let i = 0; i < requests.length; i++) {
        const answer = await handler({ request: requests[i] });
        console.log(JSON.stringify(answer));
    }
})();
