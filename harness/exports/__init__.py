"""What is known of a suite's models, for other programs and documents: one module a format.

`model_rows` and `load_rows` make the flat rows that CSV, JSON and Parquet carry; `printed` the few columns that
Markdown and LaTeX show; `model_card` and `badge` are about one model. `formats` names them all.
"""
