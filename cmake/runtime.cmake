# libaml_runtime.a: what compiled programs are linked with, and what amlc reads checkpoints with.
aml_module(aml_runtime runtime runtime/job runtime/data runtime/checkpoint runtime/log runtime/device runtime/pool)
