// SPDX-License-Identifier: GPL-2.0
//! The register list as another crate expands it: `arch` makes its accesses this way.

use mvirt_hyp::sysreg::Kept;

macro_rules! mnemonics {
    ($($variant:ident $name:ident ($op0:literal $op1:literal $crn:literal $crm:literal $op2:literal)
        $feature:ident $treatment:ident;)*) => {
        fn mnemonic(kept: Kept) -> &'static str {
            match kept {
                $(Kept::$variant => concat!(
                    "mrs {}, S", $op0, "_", $op1, "_C", $crn, "_C", $crm, "_", $op2
                ),)*
            }
        }
    };
}

mvirt_hyp::for_each_kept_register!(mnemonics);

#[test]
fn the_expansion_agrees_with_the_enum() {
    assert_eq!(mnemonic(Kept::Hcr), "mrs {}, S3_4_C1_C1_0");
    assert_eq!(mnemonic(Kept::Brbcr), "mrs {}, S2_4_C9_C0_0");
    for kept in Kept::ALL {
        let e = kept.encoding();
        let expected = format!(
            "mrs {{}}, S{}_{}_C{}_C{}_{}",
            e.op0, e.op1, e.crn, e.crm, e.op2
        );
        assert_eq!(mnemonic(*kept), expected, "{}", kept.name());
    }
}
