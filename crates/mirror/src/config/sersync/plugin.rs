//! sersync's plugins (mirror.md 1.6) as hooks.

use std::path::PathBuf;

use super::super::xml::Element;
use super::super::{BadConfig, Converted, HookConfig, PurgeConfig};
use super::Reading;
use crate::hooks::PATH_ARGUMENT;

const SOCKET_PORT: &str = "80";

impl Reading<'_> {
    /// A plugin as a hook, and the directory that its own definition watches.
    pub(super) fn plugin(
        &self,
        name: &str,
        converted: &mut Converted,
    ) -> Result<(HookConfig, PathBuf), BadConfig> {
        let head = self.head;
        if !["command", "socket", "http", "refreshCDN"].contains(&name) {
            return Err(self.bad(
                head.line,
                format!(
                    "there is no plugin {name}; there are command, socket, http and refreshCDN"
                ),
            ));
        }
        let element = head
            .children("plugin")
            .find(|plugin| plugin.attribute("name") == Some(name))
            .ok_or_else(|| self.bad(head.line, format!("<plugin name=\"{name}\"> is missing")))?;
        let local = element.child("localpath");
        let watched = local
            .and_then(|local| local.attribute("watch"))
            .or_else(|| head.at(&["sersync", "localpath"])?.attribute("watch"))
            .ok_or_else(|| self.bad(element.line, "no watch=\"DIRECTORY\" is given"))?;
        let inside = local.unwrap_or(element);
        let target = inside.child("deshost").or_else(|| element.child("deshost"));
        let of_target = |name: &str| target.and_then(|target| target.attribute(name));
        let mut hook = HookConfig::default();
        match name {
            "command" => {
                let param = element.child("param").cloned().unwrap_or_default();
                let words = |name: &str| -> Vec<String> {
                    let text = param.attribute(name).unwrap_or_default();
                    text.split_whitespace().map(str::to_owned).collect()
                };
                let (before, after) = (words("prefix"), words("suffix"));
                if before
                    .iter()
                    .chain(&after)
                    .any(|word| word.contains(['|', ';', '&', '<', '>', '$', '`']))
                {
                    converted.note(format!(
                        "plugin command, line {}: prefix and suffix are words here, not shell text; put the pipeline into a script",
                        param.line
                    ));
                }
                let command = before
                    .into_iter()
                    .chain([PATH_ARGUMENT.to_owned()])
                    .chain(after);
                hook.command = Some(command.collect());
            }
            "socket" => {
                let host = of_target("ip").unwrap_or("127.0.0.1");
                let port = of_target("port").unwrap_or(SOCKET_PORT);
                hook.socket = Some(format!("{host}:{port}"));
                hook.plain = true;
            }
            "http" => {
                let url = of_target("url")
                    .ok_or_else(|| self.bad(element.line, "<deshost> has no url"))?;
                let url = url.strip_prefix("http://").unwrap_or(url);
                let (host, path) = url.split_once('/').unwrap_or((url, ""));
                let port = of_target("port")
                    .map(|port| format!(":{port}"))
                    .unwrap_or_default();
                hook.http = Some(format!("http://{host}{port}/{path}"));
                converted.note(
                    "plugin http: the body is JSON with many changes, not one form for each event",
                );
            }
            _ => hook.purge = Some(purge(inside, element)),
        }
        let filter = element
            .child("filter")
            .filter(|filter| filter.is_true("start"));
        for include in filter.iter().flat_map(|filter| filter.children("include")) {
            hook.only
                .extend(include.attribute("expression").map(str::to_owned));
        }
        Ok((hook, PathBuf::from(watched)))
    }
}

fn purge(inside: &Element, element: &Element) -> PurgeConfig {
    let child = |name: &str| {
        let found = inside.child(name).or_else(|| element.child(name));
        found.cloned().unwrap_or_default()
    };
    let (info, regex) = (child("cdninfo"), child("regexurl"));
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let domain = text(info.attribute("domainname"));
    PurgeConfig {
        address: format!("{domain}:{}", info.attribute("port").unwrap_or("80")),
        domain,
        user: text(info.attribute("username")),
        password: text(info.attribute("passwd")),
        base: text(child("sendurl").attribute("base"))
            .trim_end_matches('/')
            .to_owned(),
        rewrite: match regex.is_true("regex") {
            true => regex.attribute("match").map(str::to_owned),
            false => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::read;
    use super::super::tests::converted;

    #[test]
    fn plugins_become_hooks() {
        let text = r#"<head><sersync><localpath watch="/w"><remote ip="h" name="m"/></localpath><plugin start="true" name="command"/></sersync>
            <plugin name="command"><param prefix="/bin/sh -x" suffix="end" ignoreError="true"/><filter start="true"><include expression="(.*)\.sh"/></filter></plugin>
            <plugin name="socket"><localpath watch="/s"><deshost ip="10.0.0.1" port="8009"/></localpath></plugin>
            <plugin name="http"><localpath watch="/s"><deshost url="www.x.cn/in" port="8080"/></localpath></plugin>
            <plugin name="refreshCDN"><localpath watch="/d"><cdninfo domainname="cdn.x" port="80" username="u" passwd="p"/><sendurl base="http://pic.x/"/><regexurl regex="false" match="m"/></localpath></plugin></head>"#;
        let hook = &converted(text).config.trees[0].hooks[0];
        assert_eq!(
            hook.command.as_deref(),
            Some(&["/bin/sh", "-x", "{path}", "end"].map(str::to_owned)[..])
        );
        assert_eq!(hook.only, [r"(.*)\.sh"]);
        assert_eq!(hook.replicas, ["h::m"]);
        let alone = |name: &str| {
            read(text, Path::new("c.xml"), Some(name)).map(|read| read.config.trees[0].clone())
        };
        let socket = alone("socket").unwrap();
        assert_eq!(socket.hooks[0].socket.as_deref(), Some("10.0.0.1:8009"));
        assert!(
            socket.replicas.is_empty() && socket.source == Path::new("/s") && socket.hooks[0].plain
        );
        assert_eq!(
            alone("http").unwrap().hooks[0].http.as_deref(),
            Some("http://www.x.cn:8080/in")
        );
        let purge = alone("refreshCDN").unwrap().hooks[0].purge.clone().unwrap();
        assert_eq!(
            (purge.address.as_str(), purge.base.as_str(), purge.rewrite),
            ("cdn.x:80", "http://pic.x", None)
        );
        assert!(alone("nothing").is_err());
    }
}
