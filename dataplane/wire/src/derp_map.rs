//! The DERP map: which relays there are, in Tailscale's JSON (`tailcfg.DERPMap`). Written by the relay
//! and the control plane, read by clients, health checks and `bench`.
//!
//! Names, and what is left out when empty, are Go's, so that a map goes through us unchanged.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::STUN_PORT;

/// All regions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DerpMap {
    /// How clients weigh regions when they choose their home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home_params: Option<DerpHomeParams>,
    /// Regions by their id.
    #[serde(deserialize_with = "null_is_empty")]
    pub regions: BTreeMap<i64, DerpRegion>,
    /// Whether clients leave out Tailscale's own regions.
    #[serde(rename = "omitDefaultRegions", skip_serializing_if = "is_false")]
    pub omit_default_regions: bool,
}

/// How clients weigh regions when they choose their home.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DerpHomeParams {
    /// Factor on the measured latency of a region, by its id; below 1 favours it.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub region_score: BTreeMap<i64, f64>,
}

/// A place with one or more relays that are meshed with each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DerpRegion {
    /// Positive; 900 to 999 are for everybody's own relays.
    #[serde(rename = "RegionID")]
    pub region_id: i64,
    /// Short name: "fra".
    pub region_code: String,
    /// Long name: "Frankfurt".
    pub region_name: String,
    /// Degrees north; 0 when unknown.
    #[serde(skip_serializing_if = "is_zero_f64")]
    pub latitude: f64,
    /// Degrees east; 0 when unknown.
    #[serde(skip_serializing_if = "is_zero_f64")]
    pub longitude: f64,
    /// The old form of `no_measure_no_home`.
    #[serde(skip_serializing_if = "is_false")]
    pub avoid: bool,
    /// Clients neither measure the region nor make it their home.
    #[serde(skip_serializing_if = "is_false")]
    pub no_measure_no_home: bool,
    /// The relays, best first.
    #[serde(deserialize_with = "null_is_empty")]
    pub nodes: Vec<DerpNode>,
}

/// One relay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DerpNode {
    /// Unique over all regions, such as "1a"; not a host name.
    pub name: String,
    /// The region that it is in.
    #[serde(rename = "RegionID")]
    pub region_id: i64,
    /// DNS name, or an address with a pinned certificate.
    pub host_name: String,
    /// Name expected in the certificate instead of `host_name`, or `sha256-raw:` and the digest of the
    /// certificate itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_name: String,
    /// IPv4 address to use instead of DNS; anything else ("none") switches IPv4 off.
    #[serde(rename = "IPv4", skip_serializing_if = "String::is_empty")]
    pub ipv4: String,
    /// IPv6 address to use instead of DNS; anything else ("none") switches IPv6 off.
    #[serde(rename = "IPv6", skip_serializing_if = "String::is_empty")]
    pub ipv6: String,
    /// STUN port: 0 for 3478, -1 for none.
    #[serde(rename = "STUNPort", skip_serializing_if = "is_zero_i32")]
    pub stun_port: i32,
    /// The node answers STUN and is no relay.
    #[serde(rename = "STUNOnly", skip_serializing_if = "is_false")]
    pub stun_only: bool,
    /// HTTPS port: 0 for 443.
    #[serde(rename = "DERPPort", skip_serializing_if = "is_zero_i32")]
    pub derp_port: i32,
    /// The certificate is not checked.
    #[serde(skip_serializing_if = "is_false")]
    pub insecure_for_tests: bool,
    /// Address for STUN instead of the relay's.
    #[serde(rename = "STUNTestIP", skip_serializing_if = "String::is_empty")]
    pub stun_test_ip: String,
    /// Port 80 answers captive-portal checks.
    #[serde(rename = "CanPort80", skip_serializing_if = "is_false")]
    pub can_port80: bool,
}

impl DerpNode {
    /// Where it answers STUN; `None` when it does not, or the map's value is no port.
    #[must_use]
    pub fn effective_stun_port(&self) -> Option<u16> {
        match self.stun_port {
            0 => Some(STUN_PORT),
            port => u16::try_from(port).ok(),
        }
    }

    /// Where it speaks DERP; `None` when it is for STUN only, or the map's value is no port.
    #[must_use]
    pub fn effective_derp_port(&self) -> Option<u16> {
        match self.derp_port {
            _ if self.stun_only => None,
            0 => Some(443),
            port => u16::try_from(port).ok(),
        }
    }
}

/// Go writes `null` for an empty map or list.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's calling convention"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's calling convention"
)]
fn is_zero_i32(value: &i32) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's calling convention"
)]
fn is_zero_f64(value: &f64) -> bool {
    *value == 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an operator pastes: one region with one relay whose certificate is pinned.
    const PINNED: &str = concat!(
        r#"{"Regions":{"900":{"RegionID":900,"RegionCode":"own","RegionName":"Our own","#,
        r#""Nodes":[{"Name":"900a","RegionID":900,"HostName":"192.0.2.1","#,
        r#""CertName":"sha256-raw:00ff","IPv4":"192.0.2.1","IPv6":"none","DERPPort":8443,"#,
        r#""CanPort80":true}]}},"omitDefaultRegions":true}"#,
    );

    #[test]
    fn a_map_is_read_and_written_unchanged() {
        let map: DerpMap = serde_json::from_str(PINNED).unwrap();
        let node = &map.regions[&900].nodes[0];
        assert_eq!(node.cert_name, "sha256-raw:00ff");
        assert_eq!(node.effective_derp_port(), Some(8443));
        assert_eq!(node.effective_stun_port(), Some(3478));
        assert_eq!(serde_json::to_string(&map).unwrap(), PINNED);
    }

    #[test]
    fn what_is_empty_is_left_out_as_in_go() {
        assert_eq!(
            serde_json::to_string(&DerpNode::default()).unwrap(),
            r#"{"Name":"","RegionID":0,"HostName":""}"#
        );
        assert_eq!(
            serde_json::to_string(&DerpRegion::default()).unwrap(),
            r#"{"RegionID":0,"RegionCode":"","RegionName":"","Nodes":[]}"#
        );
        assert_eq!(
            serde_json::to_string(&DerpMap::default()).unwrap(),
            r#"{"Regions":{}}"#
        );
    }

    #[test]
    fn null_and_absent_are_empty_and_unknown_names_are_skipped() {
        let map: DerpMap = serde_json::from_str(r#"{"Regions":null,"Future":[1]}"#).unwrap();
        assert_eq!(map, DerpMap::default());
        let region: DerpRegion = serde_json::from_str(r#"{"Nodes":null}"#).unwrap();
        assert_eq!(region, DerpRegion::default());
    }

    #[test]
    fn every_name_is_tailscales() {
        let node: DerpNode = serde_json::from_str(concat!(
            r#"{"Name":"1a","RegionID":1,"HostName":"h","CertName":"c","IPv4":"a","IPv6":"b","#,
            r#""STUNPort":-1,"STUNOnly":true,"DERPPort":70000,"InsecureForTests":true,"#,
            r#""STUNTestIP":"t","CanPort80":true}"#,
        ))
        .unwrap();
        let expected = DerpNode {
            name: "1a".into(),
            region_id: 1,
            host_name: "h".into(),
            cert_name: "c".into(),
            ipv4: "a".into(),
            ipv6: "b".into(),
            stun_port: -1,
            stun_only: true,
            derp_port: 70000,
            insecure_for_tests: true,
            stun_test_ip: "t".into(),
            can_port80: true,
        };
        assert_eq!(node, expected);
        assert_eq!(node.effective_stun_port(), None);
        assert_eq!(node.effective_derp_port(), None);
        assert_eq!(
            DerpNode {
                stun_only: false,
                ..node
            }
            .effective_derp_port(),
            None
        );
    }

    #[test]
    fn home_params_have_scores_by_region() {
        let map: DerpMap =
            serde_json::from_str(r#"{"HomeParams":{"RegionScore":{"2":0.5}}}"#).unwrap();
        assert_eq!(map.home_params.unwrap().region_score[&2], 0.5);
    }
}
