"""What a finished evaluation shows of each method: means over the muscles, and paired differences with intervals.

Use: python benchmarks/learning/evidence.py results [--quantity lean_mass_g]
"""

import argparse
from pathlib import Path

import pandas as pd

MEASURES = ["pcc", "pcc_women", "pcc_men", "partial", "left_right", "icc21", "bias_percent", "slope", "r2_both"]
SHOWN = ["pcc", "pcc_women", "partial", "left_right"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--quantity", default="lean_mass_g")
    options = parser.parse_args()
    folder = options.results / "evaluation"
    added, differences = (pd.read_parquet(folder / f"{name}.parquet") for name in ("added_value", "differences"))
    of = added[(added["structure"] == "mean_of_muscles") & (added["quantity"] == options.quantity)]
    print(of.pivot_table("value", "method", "measure", sort=False)[MEASURES].round(3).to_string())
    print()
    for row in differences[differences["quantity"] == options.quantity].itertuples():
        if row.measure in SHOWN:
            print(f"{row.measure:10s} {row.method} - {row.other}: {row.value:+.3f} ({row.low:+.3f} to {row.high:+.3f})")
    if (path := folder / "maps.parquet").is_file():
        maps = pd.read_parquet(path)
        maps["kind"] = maps["structure"].isin(["pelvis", "sacrum", "femur"]).map({True: "bone", False: "muscle"})
        maps = maps[maps["quantity"] == options.quantity]
        print()
        print(maps.groupby(["kind", "method"])[["psnr_db", "ssim", "relative_l1", "dice"]].mean().round(3).to_string())


if __name__ == "__main__":
    main()
