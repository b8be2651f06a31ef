// The module `cloudfront` of the runtime, as far as the function uses it, with these readers.
const stored = READERS;

export default {
    kvs: function () {
        return {
            get: async function (name) {
                if (stored[name] === undefined) throw new Error('KeyNotFound');
                return stored[name];
            }
        };
    }
};
