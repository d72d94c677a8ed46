"""The contract: what a task, an encoder, an imputer, a fusion strategy and a missingness mechanism are.

Data flows one way::

    Task -> Dataset -> Encoder -> Batch -> Imputer -> Batch -> FusionStrategy -> logits

Plugins are pure functions of tensors. The training loop owns data order, optimiser, randomness,
model selection, and the stacking of many runs into one program; to be stackable a plugin

* does not branch on tensor values, call ``.item()`` or index with a boolean mask,
* keeps what is not trained (prototypes, weights between heads) in buffers,
* declares hyper-parameters that may differ between stacked runs with :meth:`fusionbench.contract.learners.Component.hyper`,
* takes its randomness from the loop (:class:`fusionbench.noise.Dropout`, ``noise`` of ``modulate``).
"""
