//! Whether the kernel has what the flags ask for beyond plain redirection, tried before anything is changed, so that a refusal
//! names the feature and not a line of a batch.

use crate::Error;
use crate::rule::Table;
use crate::settings::Settings;
use crate::tool::Tool;

/// Something the kernel may lack.
struct Feature {
    flags: &'static str,
    name: &'static str,
    module: &'static str,
    table: Table,
    /// A rule that needs it.
    rule: &'static str,
}

const TPROXY: [Feature; 3] = [
    Feature {
        flags: "-m TPROXY",
        name: "the target TPROXY",
        module: "xt_TPROXY",
        table: Table::Mangle,
        rule: "-p tcp -j TPROXY --on-port 15006 --tproxy-mark 0x1",
    },
    Feature {
        flags: "-m TPROXY",
        name: "packet marks",
        module: "xt_mark",
        table: Table::Mangle,
        rule: "-m mark ! --mark 0x1 -j MARK --set-mark 1",
    },
    Feature {
        flags: "-m TPROXY",
        name: "connection marks",
        module: "xt_connmark",
        table: Table::Mangle,
        rule: "-m connmark --mark 0x1 -j CONNMARK --restore-mark",
    },
];

const DNS: [Feature; 2] = [
    Feature {
        flags: "--redirect-dns",
        name: "connection-tracking zones",
        module: "xt_CT, nf_conntrack_zones",
        table: Table::Raw,
        rule: "-p udp -j CT --zone 1",
    },
    Feature {
        flags: "--redirect-dns",
        name: "the match multiport",
        module: "xt_multiport",
        table: Table::Nat,
        rule: "-p tcp -m multiport ! --dports 53,15008 -j RETURN",
    },
];

const CONNTRACK: Feature = Feature {
    flags: "-m TPROXY or --drop-invalid",
    name: "the match conntrack",
    module: "xt_conntrack",
    table: Table::Mangle,
    rule: "-m conntrack --ctstate INVALID -j DROP",
};

/// Tries each feature that the settings need, by a rule in a chain to which nothing leads and which the same transaction removes.
///
/// # Errors
/// [`Error::Kernel`] names the first that is missing.
pub(crate) fn check(settings: &Settings, tool: Tool) -> Result<(), Error> {
    let mut needed: Vec<&Feature> = Vec::new();
    if settings.tproxy.is_some() {
        needed.extend(&TPROXY);
    }
    if settings.dns.is_on() {
        needed.extend(&DNS);
    }
    if settings.tproxy.is_some() || settings.drop_invalid {
        needed.push(&CONNTRACK);
    }
    needed.into_iter().try_for_each(|feature| try_out(feature, tool))
}

fn try_out(feature: &Feature, tool: Tool) -> Result<(), Error> {
    let Feature { flags, name, module, table, rule } = *feature;
    let chain = "OUTRIGGER_PROBE";
    let batch = format!("*{}\n-N {chain}\n-A {chain} {rule}\n-F {chain}\n-X {chain}\nCOMMIT\n", table.name());
    match tool.restore(&batch) {
        Err(Error::Command { stderr, .. }) => Err(Error::Kernel { flags, feature: name, module, detail: stderr }),
        result => result,
    }
}
