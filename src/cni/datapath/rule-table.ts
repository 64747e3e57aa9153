/** The name of the one nf_tables table of Trivet, family `inet`. Shown by `nft list table inet trivet`. */
export const ruleTable = "trivet";
