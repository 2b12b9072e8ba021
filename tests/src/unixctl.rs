//! Open vSwitch's control socket, asked without a process for each question.

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

/// A connection to a daemon of Open vSwitch, as `ovs-appctl` makes it (ovs-appctl(8): JSON-RPC over a unix socket).
pub struct UnixCtl {
    stream: UnixStream,
    replies: serde_json::StreamDeserializer<'static, serde_json::de::IoRead<BufReader<UnixStream>>, Value>,
}

impl std::fmt::Debug for UnixCtl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnixCtl").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl UnixCtl {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket);
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {}: {error}", socket.display()));
        let reader = BufReader::new(stream.try_clone().expect("a descriptor can be duplicated"));
        Self { stream, replies: serde_json::Deserializer::from_reader(reader).into_iter() }
    }

    /// Calls `method` and gives what it prints, or as an error what it complains about.
    ///
    /// # Panics
    /// When the daemon goes away.
    pub fn call(&mut self, method: &str, params: &[&str]) -> Result<String, String> {
        let request = json!({ "id": 0, "method": method, "params": params });
        self.stream.write_all(request.to_string().as_bytes()).expect("the daemon listens");
        let reply = self.replies.next().unwrap_or_else(|| panic!("the daemon ended at {method} {params:?}"));
        let reply = reply.unwrap_or_else(|error| panic!("no JSON: {error}: {method} {params:?}"));
        match (&reply["result"], &reply["error"]) {
            (Value::String(text), Value::Null) => Ok(text.clone()),
            (_, error) => Err(error.as_str().map_or_else(|| error.to_string(), str::to_owned)),
        }
    }
}
